"""Results of runs that were stopped for their silence: taken while that harms nobody."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from server.store.commands import RunFields, UpdateRun
from server.store.refusal import Refused
from tests.unit.server.leasing import SUCCESS, claim, reap, report, stored
from tests.unit.server.world import opened, run_async
from worker.api.ids import requeue_run_id

pytestmark = pytest.mark.usefixtures("each_store")


def test_a_late_result_is_taken_while_nobody_has_started_the_task() -> None:
    """What was finished is not done again: the placeholder goes, the task shows the result for good."""

    async def scenario() -> None:
        async with opened() as world:
            job = await world.job()
            task = await world.task(job)
            run = await claim(world, task)
            world.clock.advance(100)
            assert await reap(world) == 1
            late = (await report(world, run, **SUCCESS)).run
            assert (late.result_code, late.error, late.results) == ("Success", None, Raw(b'{"a":1}'))
            assert await world.counters(job) == (0, 0, 1, 0, 1)
            assert await stored(world, requeue_run_id(run.id)) is None
            again = (await report(world, run, **SUCCESS)).run
            assert again == late
            with pytest.raises(Refused, match="cannot be changed"):
                await report(world, run, **{**SUCCESS, "result_code": "Failed"})

    run_async(scenario)


def test_a_late_result_takes_a_placeholder_back_of_which_somebody_told_something() -> None:
    """Its results and samples go with it; else the result would be refused for ever."""

    async def scenario() -> None:
        async with opened() as world:
            task = await world.task(await world.job())
            run = await claim(world, task)
            world.clock.advance(100)
            assert await reap(world) == 1
            placeholder = await stored(world, requeue_run_id(run.id))
            assert placeholder is not None
            told = RunFields(cpu_time=1.5, ram_usage=2.0, results='{"note":1}')
            await world.store.apply(UpdateRun(org_id=world.org_id, id=placeholder.id, fields=told))
            late = (await report(world, run, **SUCCESS)).run
            assert late.result_code == "Success"
            assert await stored(world, placeholder.id) is None

    run_async(scenario)


@pytest.mark.parametrize(
    ("agent", "fields"),
    [
        ("pod/another", SUCCESS),
        ("pod/agent", {**SUCCESS, "started_at": 6}),
        ("pod/agent", {"progress": 500_000}),
        ("pod/agent", {"stopped_at": 9, "result_code": "Success"}),
    ],
)
def test_only_the_agent_of_a_run_brings_its_late_result(agent: str, fields: dict[str, Any]) -> None:
    """Neither another agent, nor another claim, nor a mere sign of life, nor one without a name."""

    async def scenario() -> None:
        async with opened() as world:
            task = await world.task(await world.job())
            run = await claim(world, task)
            world.clock.advance(100)
            await reap(world)
            with pytest.raises(Refused):
                await report(world, run, agent, **fields)
            assert await world.status(task) == "pending"

    run_async(scenario)


def test_a_result_is_too_late_once_somebody_has_started_the_task() -> None:
    """The task is the other one's, whether it still runs or is done."""

    async def scenario() -> None:
        async with opened() as world:
            task = await world.task(await world.job())
            run = await claim(world, task)
            world.clock.advance(100)
            await reap(world)
            other = await world.claim(task, started_at=77, pod_id="pod/other")
            with pytest.raises(Refused, match="cannot be changed"):
                await report(world, run, **SUCCESS)
            await world.put(other, stopped_at=99, result_code="Failed")
            with pytest.raises(Refused, match="cannot be changed"):
                await report(world, run, **SUCCESS)
            assert await world.status(task) == "stopped"

    run_async(scenario)


@pytest.mark.parametrize("does_agent_requeue", [True, False])
def test_a_late_failure_is_told_and_leaves_the_task_pending(does_agent_requeue: bool) -> None:
    """What its agent would have done, the server did; whether both ask for it makes no difference."""

    async def scenario() -> None:
        async with opened() as world:
            task = await world.task(await world.job())
            run = await claim(world, task)
            world.clock.advance(100)
            await reap(world)
            if does_agent_requeue:
                await world.post(task, requeue_run_id(run.id))
            failed = {**SUCCESS, "result_code": "Failed", "error": "handler_error: busy"}
            assert (await report(world, run, **failed)).run.error == "handler_error: busy"
            assert await world.status(task) == "pending"
            assert await stored(world, requeue_run_id(run.id)) is not None

    run_async(scenario)
