"""Closing a job of many tasks: in parts, right at every moment, resumed after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from server.store.commands import UpdateJob
from server.store.postgres.store import PostgresStore
from server.store.queries import RunQuery, TaskQuery
from server.store.records import JobRecord, TaskAnswer
from server.store.refusal import Refused
from server.store.sql import closing
from server.store.sql.closing import Closing, StopPending
from server.store.sqlite.store import SqliteStore
from tests.unit.server.world import World, durable_database, opened, run_async

pytestmark = pytest.mark.usefixtures("each_store")


async def close(world: World, job: JobRecord, state: str = "cancelled") -> JobRecord:
    """Set the state of a job."""
    return await world.store.apply(UpdateJob(org_id=world.org_id, id=job.id, scheduler_state=state))


async def closed(world: World) -> None:
    """Wait until nothing is left to stop."""
    assert isinstance(world.store, SqliteStore | PostgresStore)
    await asyncio.gather(*world.store._closing._under_way.values())


async def claimable(world: World, *types: str) -> list[TaskAnswer]:
    """Return what an agent's poll shows."""
    return await world.store.tasks(TaskQuery(org_id=world.org_id, statuses=("pending",), types=types))


def totals_of(job: JobRecord) -> tuple[int, int, int]:
    """Return how many tasks are pending, running, stopped."""
    return (job.task_status_pending, job.task_status_running, job.task_status_stopped)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a part so small that a job of a test has several."""
    monkeypatch.setattr(closing, "STOPPED_AT_ONCE", 2)


def never_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing happen after the first part, as if the server died there."""
    monkeypatch.setattr(Closing, "_stop_some", lambda *_: asyncio.Event().wait())


def test_a_job_of_many_tasks_is_closed_in_parts() -> None:
    """In the end each task has one stopped run, those with a placeholder too, and counters agree."""

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            tasks = [await world.task(job) for _ in range(7)]
            placeholder = await world.post(tasks[4])
            await world.claim(tasks[0])
            assert totals_of(await close(world, job)) == (4, 1, 2)
            await closed(world)
            assert await world.counters(job) == (0, 1, 6, 6, 0)
            runs = [answer.run for answer in await world.store.runs(RunQuery(org_id=world.org_id))]
            assert len(runs) == len({run.task_id for run in runs}) == 7
            assert placeholder.id in [run.id for run in runs]
            errors = {run.error for run in runs if run.stopped_at}
            assert errors == {f"cancelled: job {job.id} was set to cancelled"}

    run_async(body)


def test_tasks_of_a_job_that_is_being_closed_are_neither_listed_nor_claimable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its state decides at once; its counters say what is still to be stopped; other jobs go on."""
    never_go_on(monkeypatch)

    async def body() -> None:
        async with opened() as world:
            job, other = await world.job(), await world.job(type="other")
            tasks = [await world.task(job) for _ in range(5)]
            seen = await world.task(other)
            assert totals_of(await close(world, job)) == (3, 0, 2)
            assert [answer.task.id for answer in await claimable(world)] == [seen.id]
            assert await claimable(world, "noop", "third") == []
            with pytest.raises(Refused, match="cancelled, not active"):
                await world.claim(tasks[-1])
            await close(world, job, "active")
            listed = {answer.task.id for answer in await claimable(world)}
            assert listed == {seen.id, *(task.id for task in tasks[2:])}
            await world.claim(tasks[-1])

    run_async(body)


def test_a_restart_goes_on_closing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server that died had left is stopped by the next one, without being asked."""

    async def die_half_way(url: str) -> None:
        with monkeypatch.context() as dying:
            never_go_on(dying)
            async with opened(url) as world:
                job = await world.job(id="job")
                for _ in range(5):
                    await world.task(job)
                await close(world, job)

    async def start_again(url: str) -> None:
        async with opened(url) as world:
            job = await world.store.job(world.org_id, "job")
            assert job is not None
            await closed(world)
            assert await world.counters(job) == (0, 0, 5, 5, 0)

    with durable_database(tmp_path) as url:
        run_async(lambda: die_half_way(url))
        run_async(lambda: start_again(url))


def test_a_job_that_is_opened_again_keeps_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that comes after the job was set to active stops nothing."""
    never_go_on(monkeypatch)

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            for _ in range(5):
                await world.task(job)
            await close(world, job)
            await close(world, job, "active")
            assert await world.store.apply(StopPending(world.org_id, job.id)) is False
            assert await world.counters(job) == (3, 0, 2, 2, 0)

    run_async(body)


def test_a_store_that_closes_leaves_no_task_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing the store in the middle of closing a job ends what runs on the event loop."""
    never_go_on(monkeypatch)

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            for _ in range(5):
                await world.task(job)
            await close(world, job)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_async(body)
