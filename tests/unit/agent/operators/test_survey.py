"""How the agent says that it stands: of real agents, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine
from tests.simulation.world import World, until
from tests.unit.agent.gpus.sick_gpu import shut
from tests.unit.agent.stub_api import task
from tests.unit.placement.machines import L4, machine, unknown
from worker.agent import memory_watch, preemption
from worker.agent.assemble import Agent
from worker.agent.drain import Drain
from worker.agent.free_space import Room
from worker.agent.gpus.pool import GpuCondition, Gpus
from worker.agent.holds import Holds
from worker.agent.operators.metrics import Metrics
from worker.agent.operators.status import HOLDERS, Status
from worker.agent.operators.survey import Survey
from worker.api.wire import ErrorKind

RUNS = "POST /api/jobs/runs"


def alive(world: World, main: Callable[[Agent], Awaitable[Any]], **settings: Any) -> Machine:
    """Let an agent live while `main` looks at it."""
    one = Machine(world, "node/agent-1", **settings)

    async def live() -> None:
        agent = await one.agent()
        life = asyncio.create_task(agent.run())
        try:
            await main(agent)
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)

    run_virtual(live())
    return one


def still(look: Callable[[Survey], None]) -> None:
    """Look at an agent that was put together and does nothing yet."""

    async def main() -> None:
        agent = await Machine(World(1, "key", 0.0, 0), "node/agent-1").agent()
        agent.survey.supervisor.is_recovering = False
        look(agent.survey)

    run_virtual(main())


def by(status: Status) -> list[str]:
    """Return who holds claims."""
    return [hold.by for hold in status.holds]


def test_an_agent_that_has_not_begun_is_alive_and_not_ready() -> None:
    """What is not known yet is null, never 0; its own identity is there from the start."""

    async def main() -> Status:
        return (await Machine(World(1, "key", 0.0, 0), "node/agent-1").agent()).survey.status()

    status = run_virtual(main())
    assert (status.agent_id, status.pod_id) == ("agent-1", "node/agent-1")
    assert (status.is_ready, status.is_claiming, by(status)) == (False, False, ["recovery"])
    assert (status.server.poll_age_s, status.server.report_age_s) == (None, None)
    assert (status.runs, status.drain, status.gpus, status.journal.entries) == ((), None, (), 0)


def test_runs_that_go_on_are_told_with_their_tasks_and_progress() -> None:
    """A slot that is free is told as such; whoever has none free says that all are busy."""
    world = World(1, "key", 0.0, 2)
    world.is_deaf = True

    async def main(agent: Agent) -> None:
        await until(lambda: len(agent.survey.activity.going) == 2, 60.0)
        status = agent.survey.status()
        assert {run.task_id for run in status.runs} == {"task-0", "task-1"}
        assert {run.run_id for run in status.runs} == world.on_stage
        assert {(run.type, run.progress, run.gpus) for run in status.runs} == {("noop", 0.5, ())}
        assert (status.slots.busy, status.slots.free, status.is_claiming) == (2, 1, True)
        world.server.add_task("task-2")
        await until(lambda: len(agent.survey.activity.going) == 3, 60.0)
        assert by(agent.survey.status()) == ["slots"]
        world.is_deaf = False
        await until(lambda: len(world.successes()) == 3, 60.0)
        await until(lambda: not agent.survey.supervisor.busy, 60.0)
        status = agent.survey.status()
        assert (status.runs, status.slots.busy, status.holds) == ((), 0, ())
        assert status.journal.undelivered == 0
        assert agent.survey.activity.ended == {("noop", "success"): 3}
        assert agent.survey.activity.claims == {True: 3}

    alive(world, main)


def test_readiness_waits_for_the_server_once_and_ends_with_the_drain() -> None:
    """A server that is away later takes nothing back: the agent is as ready as it can be."""
    world = World(1, "key", 0.0, 0)
    polls = "GET /api/jobs/tasks"
    world.server.denies[polls] = (503, {})

    async def main(agent: Agent) -> None:
        await until(lambda: agent.survey.activity.polls_failed > 2, 60.0)
        assert not agent.survey.is_ready
        world.server.denies.clear()
        await until(lambda: agent.survey.is_ready, 60.0)
        world.server.denies[polls] = (503, {})
        await until(lambda: agent.survey.activity.polls_failed > 2, 600.0)
        status = agent.survey.status()
        assert status.is_ready
        assert (status.server.poll_age_s or 0.0) > 0.0
        agent.drain.request(ErrorKind.PREEMPTED, "the cloud takes it", within_s=25.0)
        status = agent.survey.status()
        assert (status.is_ready, by(status)) == (False, ["drain"])
        assert status.drain is not None
        assert (status.drain.kind, status.drain.message) == ("preempted", "the cloud takes it")
        assert status.drain.left_s == 25.0
        assert (status.drain.deadline - status.now).total_seconds() == pytest.approx(25.0)

    alive(world, main)


def test_an_outcome_that_the_server_does_not_take_is_told_as_undelivered() -> None:
    """It is in the journal; its run goes on no more."""
    world = World(1, "key", 0.0, 1)

    async def main(agent: Agent) -> None:
        await until(lambda: world.executing, 60.0)
        world.network.is_down = True
        await until(lambda: agent.survey.status().journal.undelivered == 1, 300.0)
        status = agent.survey.status()
        assert (status.runs, status.journal.entries, status.journal.for_a_person) == ((), 1, 0)
        await asyncio.sleep(100.0)
        assert 100.0 <= (agent.survey.status().journal.lag_s or 0.0) < 110.0
        assert b"\nmillhand_report_lag_seconds 10" in Metrics(agent.survey).text()
        world.network.is_down = False
        await until(lambda: agent.survey.status().journal.entries == 0, 600.0)
        assert agent.survey.status().journal.lag_s is None
        assert b"\nmillhand_report_lag_seconds 0.0\n" in Metrics(agent.survey).text()

    alive(world, main)


def test_a_run_that_the_server_does_not_hear_of_is_told_by_its_age() -> None:
    """Since the last answer about it: at the length of the lease it is given to somebody else."""
    world = World(1, "key", 0.0, 1)
    world.is_deaf = True

    async def main(agent: Agent) -> None:
        assert agent.survey.status().server.heartbeat_age_s is None
        assert b"heartbeat" not in Metrics(agent.survey).text()
        await until(lambda: world.executing, 60.0)
        await asyncio.sleep(200.0)  # answered in between: its age does not grow
        assert 0.0 <= (agent.survey.status().server.heartbeat_age_s or 0.0) < 60.0
        world.network.is_down = True
        await asyncio.sleep(100.0)
        assert (agent.survey.status().server.heartbeat_age_s or 0.0) >= 100.0

    alive(world, main)


def test_a_claim_that_is_denied_holds_the_next_one() -> None:
    """It is told as the server's doing."""
    world = World(1, "key", 0.0, 5)
    world.server.denies[RUNS] = (403, {"error": {"code": "no", "message": "no"}})

    async def main(agent: Agent) -> None:
        await until(lambda: "server" in by(agent.survey.status()), 60.0)
        assert not agent.survey.status().is_claiming

    alive(world, main)


def test_every_reason_that_holds_claims_is_told_beside_the_others() -> None:
    """Watches' own, the disk and the end; each by a name that the metrics know."""

    def look(survey: Survey) -> None:
        assert by(survey.status()) == []
        survey.space._min_free_bytes = 512
        survey.space._take(Path("/state"), Room(Path("/state"), 1, 10_000, None))
        survey.holds.hold(memory_watch.ROOM, "too little", "more")
        survey.holds.hold(memory_watch.SPEED, "too slow", "less")
        survey.holds.hold(preemption.HOLDER, "in an hour", "go")
        survey.drain.request(ErrorKind.DRAINED, "SIGTERM received")
        status = survey.status()
        assert {(hold.by, hold.reason) for hold in status.holds} == {
            ("drain", "SIGTERM received"),
            ("disk", "/state: 1 bytes are free, at least 512 bytes are wanted"),
            ("memory", "too little"),
            ("memory pressure", "too slow"),
            ("preemption", "in an hour"),
        }
        assert set(by(status)) <= set(HOLDERS)
        survey.holds.lift(memory_watch.ROOM)
        assert "memory" not in by(survey.status())

    still(look)


def test_a_journal_that_cannot_be_written_holds_claims() -> None:
    """The state directory's disk fails."""

    async def main() -> None:
        agent = await Machine(World(1, "key", 0.0, 0), "node/agent-1").agent()
        await agent.survey.journal.aclose()
        status = agent.survey.status()
        assert (by(status), status.journal.is_healthy) == (["recovery", "journal"], False)

    run_virtual(main())


def test_a_gpu_is_told_with_what_has_it_and_why_it_is_given_to_no_run() -> None:
    """In quarantine: for how long, and that a run tries it; the other one is free and fit."""

    def look(survey: Survey) -> None:
        other = structs.replace(L4, uuid="GPU-3")
        gpus = Gpus(machine(L4, other), Machine(World(1, "key", 0.0, 0), "m").config, clock=survey.clock)
        survey = structs.replace(survey, gpus=gpus)
        shut(gpus)
        one, two = survey.status().gpus or ()
        assert (one.uuid, one.name, one.condition, one.free) == (
            "GPU-1",
            L4.name,
            GpuCondition.QUARANTINED,
            1,
        )
        assert one.quarantine_left_s == 60.0
        assert one.reason == "it is in quarantine for 60 s more: 3 tasks in a row failed on it"
        assert (two.condition, two.reason, two.quarantine_left_s) == (GpuCondition.FIT, None, None)

    still(look)


def test_a_gpu_that_a_run_tries_is_in_quarantine_with_no_time_left() -> None:
    """When the time is over it is fit for one run; while that goes on, for no other one."""

    async def main() -> None:
        one = Machine(World(1, "key", 0.0, 0), "node/agent-1")
        survey = (await one.agent()).survey
        gpus = Gpus(machine(L4), one.config, clock=survey.clock)
        survey = structs.replace(survey, gpus=gpus)
        shut(gpus)
        await asyncio.sleep(59.0)
        assert (survey.status().gpus or ())[0].quarantine_left_s == 1.0
        await asyncio.sleep(1.0)
        (gpu,) = survey.status().gpus or ()
        assert (gpu.condition, gpu.reason, gpu.quarantine_left_s) == (GpuCondition.FIT, None, None)
        gpus.take(task(parameters={"requires": {"gpus": 1}}))
        (gpu,) = survey.status().gpus or ()
        assert (gpu.condition, gpu.quarantine_left_s, gpu.free) == (GpuCondition.QUARANTINED, 0.0, 0)
        assert "tries it" in (gpu.reason or "")

    run_virtual(main())


def test_gpus_that_are_unknown_are_null_with_the_reason() -> None:
    """None is something else than no GPU."""

    def look(survey: Survey) -> None:
        assert (survey.status().gpus, survey.status().gpus_unknown) == ((), None)
        gpus = Gpus(machine(gpus=unknown("NVML hangs")), Machine(World(1, "key", 0.0, 0), "m").config)
        status = structs.replace(survey, gpus=gpus).status()
        assert (status.gpus, status.gpus_unknown) == (None, "NVML hangs")

    still(look)


def test_the_document_holds_no_parameter_of_a_task() -> None:
    """Nor anything else that was submitted, but the ids and the type."""
    world = World(1, "key", 0.0, 1)
    world.is_deaf = True
    (item,) = world.server.tasks.values()
    item["parameters"] = {"password": "hush-1"}
    item["title"] = "hush-2"

    async def main(agent: Agent) -> None:
        await until(lambda: agent.survey.activity.going, 60.0)
        body = msgspec.json.encode(agent.survey.status()).decode()
        assert '"taskId":"task-0"' in body
        assert "hush" not in body

    alive(world, main)


def test_a_hold_of_watches_is_seen_while_the_agent_works() -> None:
    """And is over when it is lifted."""
    world = World(1, "key", 0.0, 0)

    async def watch(_: Drain, holds: Holds) -> None:
        holds.hold("memory", "full", "wait")
        await asyncio.sleep(100.0)
        holds.lift("memory")

    async def main() -> None:
        one = Machine(world, "node/agent-1")
        one.watches = (watch,)
        agent = await one.agent()
        life = asyncio.create_task(agent.run())
        await asyncio.sleep(50.0)
        assert by(agent.survey.status()) == ["memory"]
        await asyncio.sleep(60.0)
        assert agent.survey.status().is_claiming
        agent.drain.request(ErrorKind.DRAINED, "over")
        await life

    run_virtual(main())
