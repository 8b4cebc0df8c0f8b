"""A job of many tasks is closed, paused, resumed, reordered: in parts, right at every moment."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.store.changes import TasksPending
from server.store.commands import UpdateJob
from server.store.following import Following
from server.store.postgres.store import PostgresStore
from server.store.queries import RunQuery, TaskQuery
from server.store.records import JobRecord, TaskAnswer
from server.store.refusal import Refused
from server.store.sql import following
from server.store.sql.following import FollowJob
from server.store.sqlite.store import SqliteStore
from tests.unit.server.world import LIMIT_S, Kind, World, durable_database, opened, run_async

pytestmark = pytest.mark.usefixtures("each_store")


async def change(world: World, job: JobRecord, **fields: Any) -> JobRecord:
    """Change a job."""
    return await world.store.apply(UpdateJob(org_id=world.org_id, id=job.id, **fields))


async def close(world: World, job: JobRecord, state: str = "cancelled") -> JobRecord:
    """Set the state of a job."""
    return await change(world, job, scheduler_state=state)


async def followed(world: World) -> None:
    """Wait until nothing is left to follow."""
    assert isinstance(world.store, SqliteStore | PostgresStore)
    await asyncio.gather(*world.store._following._under_way.values())
    assert await world.ask("SELECT id FROM jobs WHERE lagging_since IS NOT NULL") == []


async def claimable(world: World, *types: str) -> list[TaskAnswer]:
    """Return what an agent's poll shows."""
    return await world.store.tasks(TaskQuery(org_id=world.org_id, statuses=("pending",), types=types))


def totals_of(job: JobRecord) -> tuple[int, int, int]:
    """Return how many tasks are pending, running, stopped."""
    return (job.task_status_pending, job.task_status_running, job.task_status_stopped)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a part so small that a job of a test has several."""
    monkeypatch.setattr(following, "AT_ONCE", 2)


def never_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing happen after the first part, as if the server died there."""
    monkeypatch.setattr(Following, "_do", lambda *_: asyncio.Event().wait())


def test_a_job_of_many_tasks_is_closed_in_parts() -> None:
    """In the end each task has one stopped run, those with a placeholder too, and counters agree."""

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            tasks = [await world.task(job) for _ in range(7)]
            placeholder = await world.post(tasks[4])
            await world.claim(tasks[0])
            assert totals_of(await close(world, job)) == (4, 1, 2)
            await followed(world)
            assert await world.counters(job) == (0, 1, 6, 6, 0)
            runs = [answer.run for answer in await world.store.runs(RunQuery(org_id=world.org_id))]
            assert len(runs) == len({run.task_id for run in runs}) == 7
            assert placeholder.id in [run.id for run in runs]
            errors = {run.error for run in runs if run.stopped_at}
            assert errors == {f"cancelled: job {job.id} was set to cancelled"}

    run_async(body)


@pytest.mark.parametrize(("state", "totals"), [("cancelled", (3, 0, 2)), ("paused", (5, 0, 0))])
def test_tasks_of_a_job_that_is_not_active_any_more_are_neither_listed_nor_claimable(
    monkeypatch: pytest.MonkeyPatch, state: str, totals: tuple[int, int, int]
) -> None:
    """Its state decides at once; its counters say what is still to be stopped; other jobs go on."""
    never_go_on(monkeypatch)

    async def body() -> None:
        async with opened() as world:
            job, other = await world.job(), await world.job(type="other")
            tasks = [await world.task(job) for _ in range(5)]
            seen = await world.task(other)
            assert totals_of(await close(world, job, state)) == totals
            assert [answer.task.id for answer in await claimable(world)] == [seen.id]
            assert await claimable(world, "noop", "third") == []
            with pytest.raises(Refused, match=f"{state}, not active"):
                await world.claim(tasks[-1])
            await close(world, job, "active")
            listed = {answer.task.id for answer in await claimable(world)}
            stopped = {task.id for task in tasks[: totals[2]]}
            assert listed >= {seen.id, *(task.id for task in tasks[2:])} - stopped
            await world.claim(tasks[-1])

    run_async(body)


def test_a_claim_goes_on_while_a_large_job_is_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two parts others are served; a live run of the job itself is reported on and ends."""

    async def body() -> None:
        async with opened() as world:
            job, other = await world.job(), await world.job()
            tasks = [await world.task(job) for _ in range(9)]
            free = await world.task(other)
            live = await world.claim(tasks[8])
            parts = 0
            real = Following._do

            async def between(self: Following, part: FollowJob) -> FollowJob | None:
                nonlocal parts
                parts += 1
                if parts == 2:
                    await world.claim(free)
                    with pytest.raises(Refused, match="paused, not active"):
                        await world.claim(tasks[7])
                    await world.put(live, stopped_at=9, result_code="Success")
                return await real(self, part)

            monkeypatch.setattr(Following, "_do", between)
            await close(world, job, "paused")
            await followed(world)
            assert parts >= 4
            assert await world.counters(job) == (8, 0, 1, 0, 1)
            marked = await world.ask("SELECT id FROM tasks WHERE run_status = 'pending' AND job_is_active")
            assert marked == []

    run_async(body)


def test_a_resumed_job_is_listed_in_parts_and_waiters_are_called_for_each() -> None:
    """No more of them than tasks came, whichever part they came with."""

    async def body() -> None:
        async with opened() as world:
            job = await world.job(scheduler_state="paused")
            tasks = [await world.task(job) for _ in range(7)]
            assert await claimable(world) == []
            world.changes.clear()
            await close(world, job, "active")
            await followed(world)
            assert [answer.task.id for answer in await claimable(world)] == [task.id for task in tasks]
            calls = [one for one in world.changes if isinstance(one, TasksPending)]
            assert len(calls) > 2
            assert sum(one.count for one in calls) == 7

    run_async(body)


def test_a_priority_is_followed_by_all_tasks_that_have_none_of_their_own() -> None:
    """Those that run and those that stopped too: they may be pending again."""

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            tasks = [await world.task(job, priority=7 if n == 3 else None) for n in range(6)]
            await world.claim(tasks[0])
            await change(world, job, priority=5)
            await followed(world)
            shown = [
                answer.task.priority for answer in await world.store.tasks(TaskQuery(org_id=world.org_id))
            ]
            assert shown == [5, 5, 5, 7, 5, 5]

    run_async(body)


@pytest.mark.parametrize("state", ["cancelled", "paused", "active"])
def test_a_restart_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """What a server that died had left follows at the next start, without being asked."""

    async def die_half_way(url: str) -> None:
        with monkeypatch.context() as dying:
            never_go_on(dying)
            async with opened(url) as world:
                job = await world.job(id="job", scheduler_state="paused" if state == "active" else "active")
                for _ in range(5):
                    await world.task(job)
                await change(world, job, scheduler_state=state, priority=3)

    async def start_again(url: str) -> None:
        async with opened(url) as world:
            job = await world.store.job(world.org_id, "job")
            assert job is not None
            await followed(world)
            assert await world.counters(job) == ((0, 0, 5, 5, 0) if state == "cancelled" else (5, 0, 0, 0, 0))
            assert len(await claimable(world)) == (5 if state == "active" else 0)
            rows = await world.ask("SELECT DISTINCT priority, CAST(job_is_active AS INTEGER) AS a FROM tasks")
            assert [(row["priority"], row["a"]) for row in rows] == [(3, int(state == "active"))]

    with durable_database(tmp_path) as url:
        run_async(lambda: die_half_way(url))
        run_async(lambda: start_again(url))


def test_a_walk_begins_anew_where_the_job_was_changed_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first part was done for another state; whoever walks, here or elsewhere, sees that."""

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            for _ in range(7):
                await world.task(job)
            with monkeypatch.context() as still:
                never_go_on(still)
                await close(world, job, "paused")
            part = await world.store.apply(FollowJob(world.org_id, job.id))
            assert part is not None
            assert part.after > following.FIRST
            with monkeypatch.context() as still:
                never_go_on(still)
                await change(world, job, scheduler_state="active", priority=4)
            anew = await world.store.apply(part)
            assert anew is not None
            assert anew.is_whole
            assert anew.since != part.since
            while anew is not None:
                anew = await world.store.apply(anew)
            assert [answer.task.priority for answer in await claimable(world)] == [4] * 7
            assert await world.store.apply(part) is None

    run_async(body)


step = st.one_of(
    st.tuples(st.just("state"), st.sampled_from(["active", "paused", "cancelled"])),
    st.tuples(st.just("priority"), st.integers(-1, 1)),
    st.tuples(st.just("claim"), st.integers(0, 5)),
    st.tuples(st.just("task"), st.integers(0, 1)),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(step, max_size=10))
def test_after_any_changes_at_once_every_task_shows_its_job(actions: list[tuple[str, Any]]) -> None:
    """Changes, claims and new tasks beside each other: in the end rows, lists and counters agree."""

    async def act(world: World, job: JobRecord, tasks: list[Any], action: tuple[str, Any]) -> None:
        name, value = action
        with contextlib.suppress(Refused):
            if name == "state":
                await close(world, job, value)
            elif name == "priority":
                await change(world, job, priority=value)
            elif name == "claim":
                await world.claim(tasks[value])
            else:
                await world.task(job)

    async def body() -> None:
        async with asyncio.timeout(LIMIT_S), opened() as world:
            job = await world.job()
            tasks = [await world.task(job) for _ in range(6)]
            await asyncio.gather(*(act(world, job, tasks, action) for action in actions))
            await followed(world)
            found = await world.store.job(world.org_id, job.id)
            assert found is not None
            shown = [a.task for a in await world.store.tasks(TaskQuery(org_id=world.org_id))]
            assert {task.priority for task in shown} == {found.priority}
            pending = {task.id for task in shown if task.run_status == "pending"}
            listed = {answer.task.id for answer in await claimable(world)}
            assert listed == (pending if found.scheduler_state == "active" else set())
            assert found.task_status_pending == len(pending)
            assert found.scheduler_state != "cancelled" or not pending

    if not Kind.has_enough():
        asyncio.run(body())


def test_a_store_that_closes_leaves_no_task_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing the store in the middle ends what runs on the event loop."""
    never_go_on(monkeypatch)

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            for _ in range(5):
                await world.task(job)
            await close(world, job)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_async(body)
