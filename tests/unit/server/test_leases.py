"""Silent runs: stopped and requeued by the server, and their late results taken while that harms nobody."""

from __future__ import annotations

import asyncio

import pytest

from server.reaper import Patience
from server.store.commands import UpdateJob
from server.testing import running_server
from tests.unit.server.leasing import SUCCESS, claim, reap, report, stored
from tests.unit.server.world import FakeClock, opened, run_async
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.api.ids import requeue_run_id
from worker.config import ApiConfig

pytestmark = pytest.mark.usefixtures("each_store")


def test_a_silent_run_is_stopped_and_its_task_is_pending_again() -> None:
    """In one step: whoever looks sees a failed job at no time."""

    async def scenario() -> None:
        async with opened() as world:
            job = await world.job()
            task = await world.task(job)
            run = await claim(world, task)
            world.clock.advance(90)
            assert await reap(world) == 0
            world.clock.advance(0.1)
            assert await reap(world) == 1
            lost = await stored(world, run.id)
            assert lost is not None
            assert lost.error == "worker_lost: its agent was silent for 90 s"
            assert await world.status(task) == "pending"
            assert await world.counters(job) == (1, 0, 0, 0, 0)
            assert await stored(world, requeue_run_id(run.id)) is not None
            assert await reap(world) == 0

    run_async(scenario)


def test_every_report_grants_a_new_lease_and_the_last_ends_it() -> None:
    """A run that is heard of lives; one that has stopped is never reaped."""

    async def scenario() -> None:
        async with opened() as world:
            task = await world.task(await world.job())
            run = await claim(world, task)
            world.clock.advance(60)
            assert (await report(world, run, progress=10)).is_leased
            world.clock.advance(60)
            assert await reap(world) == 0
            assert not (await report(world, run, **SUCCESS)).is_leased
            world.clock.advance(1000)
            assert await reap(world) == 0
            assert await world.status(task) == "stopped"

    run_async(scenario)


def test_who_knows_no_leases_is_never_reaped() -> None:
    """Any client of the documented API may run a task for a day without a word."""

    async def scenario() -> None:
        async with opened() as world:
            task = await world.task(await world.job())
            await world.claim(task)
            world.clock.advance(100_000)
            assert await reap(world) == 0
            assert await world.status(task) == "running"

    run_async(scenario)


def test_a_placeholder_that_was_there_before_is_not_doubled() -> None:
    """An agent that requeued, and fell silent before it stopped its run, is helped to the end."""

    async def scenario() -> None:
        async with opened() as world:
            task = await world.task(await world.job())
            run = await claim(world, task)
            await world.post(task, requeue_run_id(run.id))
            world.clock.advance(100)
            assert await reap(world) == 1
            assert await world.status(task) == "pending"

    run_async(scenario)


@pytest.mark.parametrize(("state", "status"), [("cancelled", "stopped"), ("paused", "pending")])
def test_tasks_of_cancelled_jobs_are_not_requeued(state: str, status: str) -> None:
    """What a person stopped is not started again behind their back; what is paused waits."""

    async def scenario() -> None:
        async with opened() as world:
            job = await world.job()
            task = await world.task(job)
            await claim(world, task)
            await world.store.apply(UpdateJob(org_id=world.org_id, id=job.id, scheduler_state=state))
            world.clock.advance(100)
            assert await reap(world) == 1
            assert await world.status(task) == status

    run_async(scenario)


def test_a_task_whose_agents_keep_dying_stops_for_a_person() -> None:
    """A task that kills machines must not go through the whole fleet for ever."""

    async def scenario() -> None:
        async with opened() as world:
            task = await world.task(await world.job())
            for attempt in range(21):
                assert await world.status(task) == "pending", attempt
                await claim(world, task)
                world.clock.advance(100)
                await reap(world)
            assert await world.status(task) == "stopped"

    run_async(scenario)


def test_a_clock_that_was_set_back_does_not_hold_tasks_for_ever() -> None:
    """No lease ends later than one that is granted now."""

    async def scenario() -> None:
        async with opened() as world:
            task = await world.task(await world.job())
            await claim(world, task)
            world.clock.advance(-86_400)
            assert await reap(world) == 0
            world.clock.advance(91)
            assert await reap(world) == 1

    run_async(scenario)


class TwoClocks(FakeClock):
    """A wall clock that can be set, beside one that cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.steady = 1000.0

    def mono(self) -> float:
        """Return the steady one."""
        return self.steady

    def pass_time(self, seconds: float, wall: float | None = None) -> None:
        """Let time pass on both, or differently on each."""
        self.steady += seconds
        self.advance(seconds if wall is None else wall)


def test_silence_counts_only_while_the_server_listened() -> None:
    """After a start, a pause of the machine, or a jump of its clock every run has a full lease to report."""
    clock = TwoClocks()
    patience = Patience(clock, lease_s=90, look_s=5)
    for seconds, wall, expected in [
        *[(5.0, 5.0, False)] * 17,
        (5.0, 5.0, True),
        (5.0, 3600.0, False),
        *[(5.0, 5.0, False)] * 17,
        (5.0, 5.0, True),
        (60.0, 60.0, False),
        *[(5.0, 5.0, False)] * 17,
        (5.0, 5.0, True),
        (5.0, -3600.0, False),
    ]:
        clock.pass_time(seconds, wall)
        assert patience.is_over() is expected


def test_a_served_lease_is_told_and_ends() -> None:
    """A silent run of an agent is given to others; one of a client that knows no leases is not."""

    async def scenario(url: str, token: str) -> None:
        config = ApiConfig(url=url, token=token)
        async with open_api(config, agent="pod/agent") as agent, open_api(config) as client:
            job = await client.create_job({"type": "noop"})
            body = {"jobId": job.id, "type": "noop"}
            silent, foreign = (await client.create_task(body), await client.create_task(body))
            began = {"startedAt": "2020-01-01T00:00:00.000Z", "podId": "pod/agent"}
            await agent.create_run({"taskId": silent.id, **began})
            await client.create_run({"taskId": foreign.id, **began})
            await until_status(client, silent.id, "pending")
            assert (await client.get_task(foreign.id)).run_status == "running"

    with running_server(lease_s=0.3) as server:
        asyncio.run(scenario(server.url, server.token))


async def until_status(api: JobsApi, task_id: str, status: str) -> None:
    """Wait until a task shows a status."""
    async with asyncio.timeout(20):
        while (await api.get_task(task_id)).run_status != status:  # noqa: ASYNC110 - asks a server
            await asyncio.sleep(0.02)
