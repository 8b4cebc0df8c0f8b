"""The metrics, read as Prometheus reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from msgspec import structs
from prometheus_client.parser import text_string_to_metric_families

from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine
from tests.simulation.world import World
from tests.unit.agent.gpus.sick_gpu import shut
from tests.unit.placement.machines import L4, machine, unknown
from worker.agent.gpus.pool import GpuCondition, Gpus
from worker.agent.job_states import JOBS
from worker.agent.operators.metrics import Metrics
from worker.agent.operators.status import (
    HOLDERS,
    PARTS,
    DrainStatus,
    GpuStatus,
    Hold,
    JournalStatus,
    RunStatus,
    ServerStatus,
    SlotStatus,
    Status,
)
from worker.agent.operators.survey import Survey
from worker.agent.supervisor import TASKS
from worker.api.wire import ErrorKind, ResultCode
from worker.executor.outcome import Outcome, RunError
from worker.reporting.report import RunState
from worker.usage.usage import Usage

PAGE = (Path(__file__).parents[4] / "docs" / "operations.md").read_text(encoding="utf-8")
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def still(look: Callable[[Survey], None]) -> None:
    """Look at an agent that was put together and does nothing yet."""

    async def main() -> None:
        look((await Machine(World(1, "key", 0.0, 0), "node/agent-1").agent()).survey)

    run_virtual(main())


def read(survey: Survey) -> Samples:
    """Return every sample, by its name and its labels."""
    families = text_string_to_metric_families(Metrics(survey).text().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def one(samples: Samples, name: str, **labels: str) -> float:
    """Return one sample of ours."""
    return samples[f"millhand_{name}", tuple(sorted(labels.items()))]


def test_an_agent_that_did_nothing_yet_tells_zeros_and_leaves_out_what_is_unknown() -> None:
    """An age that nobody knows is no sample; a counter of which nothing happened is 0."""

    def look(survey: Survey) -> None:
        samples = read(survey)
        assert one(samples, "slots") == 3
        assert one(samples, "ready") == one(samples, "claims_total", result="won") == 0
        assert one(samples, "agent_info", pod_id="node/agent-1", version=survey.status().version) == 1
        names = {name for name, _ in samples}
        assert not {"millhand_last_poll_age_seconds", "millhand_last_report_age_seconds"} & names
        assert all(name.startswith("millhand_") for name in names)

    still(look)


def test_runs_are_counted_by_type_and_outcome_and_their_durations_by_range() -> None:
    """Ranges add up, as Prometheus wants them."""

    def look(survey: Survey) -> None:
        crashed = RunError(kind=ErrorKind.CRASHED, message="SIGSEGV")
        for wall_s, error in ((0.05, None), (3.0, None), (1e6, crashed)):
            code = ResultCode.SUCCESS if error is None else ResultCode.FAILED
            survey.activity.begin(run_id="r", task_id="t", type_='odd "type"', gpus=(), state=RunState())
            survey.activity.end("r", Outcome(code=code, error=error, usage=Usage(wall_s=wall_s)))
        survey.activity.claimed(True)
        survey.activity.claimed(False)
        survey.activity.polled(True)
        survey.activity.reported()
        samples = read(survey)
        type_ = 'odd "type"'
        assert one(samples, "runs_total", type=type_, outcome="success") == 2
        assert one(samples, "runs_total", type=type_, outcome="crashed") == 1
        bucket = "run_duration_seconds_bucket"
        counts = [one(samples, bucket, type=type_, le=le) for le in ("0.1", "1.0", "5.0", "43200.0")]
        assert counts == [1, 1, 2, 2]
        assert one(samples, bucket, type=type_, le="+Inf") == 3
        assert one(samples, "run_duration_seconds_count", type=type_) == 3
        assert one(samples, "run_duration_seconds_sum", type=type_) == 1e6 + 3.05
        assert one(samples, "claims_total", result="won") == one(samples, "claims_total", result="lost") == 1
        assert one(samples, "polls_total", result="answered") == one(samples, "ready") == 1
        assert one(samples, "last_report_age_seconds") == one(samples, "last_poll_age_seconds") == 0

    still(look)


def test_each_part_that_may_stand_still_is_a_sample_at_any_time() -> None:
    """Reports of two runs are two of one kind: ids of runs are no labels."""

    def look(survey: Survey) -> None:
        samples = read(survey)
        assert [one(samples, "stuck", part=part) for part in PARTS] == [0.0] * len(PARTS)
        for loop in ("reports of run-1", "reports of run-2", TASKS, JOBS):
            survey.turns.note(loop, float("-inf"))
        samples = read(survey)
        told = {part: one(samples, "stuck", part=part) for part in PARTS}
        assert told == {"minder": 0.0, "reports": 2.0, "states of jobs": 1.0, "tasks": 1.0}

    still(look)


def test_trees_that_outlive_their_kill_are_a_sample_at_any_time() -> None:
    """An alert waits for it; whoever minds the processes counts them."""

    def look(survey: Survey) -> None:
        assert one(read(survey), "trees_not_ending") == 0
        assert one(read(structs.replace(survey, not_ending=lambda: 2)), "trees_not_ending") == 2

    still(look)


def test_each_reason_that_holds_claims_is_a_sample_at_any_time() -> None:
    """So that an alert sees it come and go; one that no document names would be missed."""

    def look(survey: Survey) -> None:
        survey.holds.hold("memory pressure", "too slow", "less")
        samples = read(survey)
        held = {by: one(samples, "claims_held", by=by) for by in HOLDERS}
        assert {by for by, value in held.items() if value} == {"recovery", "memory pressure"}
        assert set(held.values()) == {0.0, 1.0}
        assert one(samples, "claiming") == one(samples, "draining") == 0
        survey.drain.request(ErrorKind.DRAINED, "SIGTERM received")
        assert one(read(survey), "claims_held", by="drain") == one(read(survey), "draining") == 1

    still(look)


def test_gpus_are_counted_by_their_condition() -> None:
    """Without their UUIDs: a label of its own for each GPU is for `/status`."""

    def look(survey: Survey) -> None:
        other = structs.replace(L4, uuid="GPU-3")
        gpus = Gpus(machine(L4, other), Machine(World(1, "key", 0.0, 0), "m").config, clock=survey.clock)
        shut(gpus)
        samples = read(structs.replace(survey, gpus=gpus))
        counts = {condition: one(samples, "gpus", condition=condition.value) for condition in GpuCondition}
        assert counts == {
            GpuCondition.FIT: 1, GpuCondition.QUARANTINED: 1, GpuCondition.UNFIT: 0, GpuCondition.UNKNOWN: 0,
        }  # fmt: skip
        gpus = Gpus(machine(gpus=unknown("NVML hangs")), Machine(World(1, "key", 0.0, 0), "m").config)
        names = {name for name, _ in read(structs.replace(survey, gpus=gpus))}
        assert "millhand_gpus" not in names

    still(look)


def test_the_page_of_operations_names_every_metric_and_every_reason() -> None:
    """Nobody has to guess what a number means."""

    def look(survey: Survey) -> None:
        survey.activity.polled(True)
        survey.activity.reported()
        families = list(text_string_to_metric_families(Metrics(survey).text().decode()))
        ends = {"counter": "_total", "info": "_info"}
        names = {family.name.removeprefix("millhand_") + ends.get(family.type, "") for family in families}
        assert len(names) == len(families) > 15
        assert [name for name in names if not re.search(rf"`{name}(_info)?[`{{]", PAGE)] == []
        assert [by for by in HOLDERS if f"`{by}`" not in PAGE] == []

    still(look)


def test_the_page_of_operations_names_every_field_of_the_status() -> None:
    """Those of its parts as well."""
    parts = (Status, SlotStatus, RunStatus, Hold, DrainStatus, GpuStatus, JournalStatus, ServerStatus)
    names = {name for part in parts for name in part.__struct_encode_fields__}
    assert [name for name in sorted(names) if f"`{name}`" not in PAGE] == []
