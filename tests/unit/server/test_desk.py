"""The desk: waiting without polling, soft reservations, nobody forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain, pairwise

import pytest

from server.pending import line, reservations
from server.pending.desk import Desk
from server.store.commands import EnsureOrganisation
from server.store.queries import Page, TaskQuery
from server.store.records import TaskAnswer
from tests.unit.server.world import LIMIT_S, World, fresh_database, run_async

pytestmark = pytest.mark.usefixtures("each_store")


@asynccontextmanager
async def open_desk() -> AsyncIterator[tuple[World, Desk]]:
    """Open a store with a desk that hears of its changes."""
    with fresh_database() as url:
        world = World(url)
        desk = Desk(world.store)
        await world.store.start(desk.on_changes)
        try:
            world.org_id = await world.store.apply(EnsureOrganisation(name="ours"))
            yield world, desk
        finally:
            desk.close()
            await world.store.close()


def pending(world: World, **fields: object) -> TaskQuery:
    """Return the query of an agent that polls."""
    return TaskQuery(org_id=world.org_id, statuses=("pending",), **fields)  # type: ignore[arg-type]


def ids(found: list[TaskAnswer]) -> list[str]:
    """Return the ids of tasks."""
    return [answer.task.id for answer in found]


async def standing(desk: Desk, world: World, waiters: int) -> None:
    """Return once so many wait in line."""
    while desk._line.length(world.org_id) < waiters:  # noqa: ASYNC110 - the line has no event for it
        await asyncio.sleep(0)


def test_a_waiter_is_answered_when_a_task_comes() -> None:
    """Nothing pending: the request is held, and answered with the task that came."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            waiting = asyncio.create_task(desk.wait(pending(world), "a", LIMIT_S))
            await standing(desk, world, 1)
            task = await world.task(await world.job())
            assert ids(await waiting) == [task.id]
            assert desk._line.length(world.org_id) == 0

    run_async(body)


def test_a_waiter_for_another_type_waits_on() -> None:
    """A task of a type that was not asked for wakes nobody."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            waiting = asyncio.create_task(desk.wait(pending(world, types=("b",)), "a", LIMIT_S))
            await standing(desk, world, 1)
            job = await world.job(type="a")
            await world.task(job)
            task = await world.task(job, type="b")
            assert ids(await waiting) == [task.id]

    run_async(body)


def test_waiting_ends_empty_after_its_time() -> None:
    """A wait is bounded by what the client asked for."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            assert await desk.wait(pending(world), "a", 0.01) == []

    run_async(body)


def test_closing_answers_waiters_at_once_and_later_ones_too() -> None:
    """A server that stops holds nobody."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            waiting = [asyncio.create_task(desk.wait(pending(world), None, LIMIT_S)) for _ in range(3)]
            await standing(desk, world, 3)
            desk.close()
            assert await asyncio.gather(*waiting) == [[], [], []]
            assert await desk.wait(pending(world), None, LIMIT_S) == []

    run_async(body)


def test_who_makes_room_for_another_organisation_is_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an empty list, as at the end of its time; it may ask again, and the other one waits."""
    monkeypatch.setattr(line, "MOST_WAITING", 2)

    async def body() -> None:
        async with open_desk() as (world, desk):
            first = asyncio.create_task(desk.wait(pending(world), "a", LIMIT_S))
            await standing(desk, world, 1)
            second = asyncio.create_task(desk.wait(pending(world), "b", LIMIT_S))
            await standing(desk, world, 2)
            assert await desk.wait(pending(world), "c", LIMIT_S) == []  # no room for one more of the same
            theirs = TaskQuery(org_id="theirs", statuses=("pending",))
            other = asyncio.create_task(desk.wait(theirs, "d", LIMIT_S))
            assert await first == []
            task = await world.task(await world.job())
            assert ids(await second) == [task.id]
            assert not other.done()
            desk.close()
            assert await other == []

    run_async(body)


def test_tasks_that_come_together_are_shared_by_those_who_wait() -> None:
    """Each of several waiting agents gets tasks of its own, and none waits for a reservation."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            waiting = [asyncio.create_task(desk.wait(pending(world), f"a{n}", LIMIT_S)) for n in range(3)]
            await standing(desk, world, 3)
            job = await world.job()
            made = await asyncio.gather(*(world.task(job) for _ in range(3)))
            found = [ids(answer) for answer in await asyncio.gather(*waiting)]
            assert all(found)
            assert sorted(chain(*found)) == sorted(task.id for task in made)

    run_async(body)


def test_a_listed_task_is_hidden_from_other_agents_only() -> None:
    """Whoever listed it sees it again, other agents do not, and who has no name sees everything."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            job = await world.job()
            tasks = [(await world.task(job)).id for _ in range(3)]
            two = pending(world, page=Page(size=2))
            assert ids(await desk.look(two, "a")) == tasks[:2]
            assert ids(await desk.look(two, "b")) == tasks[2:]
            assert ids(await desk.look(pending(world), "a")) == tasks[:2]
            assert ids(await desk.look(pending(world), None)) == tasks

    run_async(body)


def test_a_claim_ends_a_reservation() -> None:
    """What was claimed is remembered no longer; its requeue is seen by everybody."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            task = await world.task(await world.job())
            await desk.look(pending(world), "a")
            run = await world.claim(task)
            await world.post(task)
            await world.put(run, stopped_at=9)
            assert ids(await desk.look(pending(world), "b")) == [task.id]

    run_async(body)


def test_a_reservation_that_ends_unclaimed_wakes_another_waiter(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that was shown a task and went away costs the others a moment only."""
    monkeypatch.setattr(reservations, "RESERVED_S", 0.02)  # the moment itself, shortened

    async def body() -> None:
        async with open_desk() as (world, desk):
            task = await world.task(await world.job())
            assert ids(await desk.look(pending(world), "a")) == [task.id]
            assert ids(await desk.wait(pending(world), "b", LIMIT_S)) == [task.id]

    run_async(body)


def test_an_agent_hides_a_task_once_and_never_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that lists again and again cannot keep a task from others."""
    monkeypatch.setattr(reservations, "RESERVED_S", 0.01)

    async def body() -> None:
        async with open_desk() as (world, desk):
            task = await world.task(await world.job())
            await desk.look(pending(world), "a")
            while desk._reservations._reserved:  # noqa: ASYNC110 - ends by a timer, without an event
                await asyncio.sleep(0.005)
            assert ids(await desk.look(pending(world), "a")) == [task.id]
            assert not desk._reservations._reserved
            assert ids(await desk.look(pending(world), "b")) == [task.id]

    run_async(body)


async def ended(desk: Desk) -> None:
    """Wait until nothing is reserved."""
    while desk._reservations._reserved:  # noqa: ASYNC110 - ends by a timer, without an event
        await asyncio.sleep(0.005)


def test_an_agent_that_took_tasks_in_order_may_hide_again_what_it_did_not_reach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What stands before that was not wanted; and what is behind it is hidden five times at most."""
    monkeypatch.setattr(reservations, "RESERVED_S", 0.3)  # three looks, on a busy machine too

    async def body() -> None:
        async with open_desk() as (world, desk):
            job = await world.job()
            tasks = [await world.task(job) for _ in range(3 + reservations.MOST_TIMES)]
            left, *taken, last = tasks
            for at, one in enumerate(taken[: reservations.MOST_TIMES]):
                shown = ids(await desk.look(pending(world), "a"))
                assert shown[0] == left.id
                assert (left.id in ids(await desk.look(pending(world), "b"))) == (at > 0)
                assert last.id not in ids(await desk.look(pending(world), "b"))
                await world.claim(one)
                await ended(desk)
            await desk.look(pending(world), "a")
            assert last.id in ids(await desk.look(pending(world), "b"))

    run_async(body)


def test_what_is_shown_again_to_who_comes_to_it_is_hidden_anew() -> None:
    """Its time begins with the newer list: the claim is as far behind that."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            job = await world.job()
            first, second = [await world.task(job) for _ in range(2)]
            await desk.look(pending(world), "a")
            key = world.org_id, second.id
            before = desk._reservations._reserved[key].until
            await desk.look(pending(world), "a")
            assert desk._reservations._reserved[key].until == before
            await world.claim(first)
            assert ids(await desk.look(pending(world), "a")) == [second.id]
            assert desk._reservations._reserved[key].until > before
            assert ids(await desk.look(pending(world), "b")) == []

    run_async(body)


def test_a_waiter_that_is_cancelled_leaves_the_task_to_the_next() -> None:
    """A client that disconnects between call and answer loses nothing for others."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            gone = asyncio.create_task(desk.wait(pending(world), "a", LIMIT_S))
            await standing(desk, world, 1)
            next_one = asyncio.create_task(desk.wait(pending(world), "b", LIMIT_S))
            await standing(desk, world, 2)
            desk._line.call(world.org_id, "noop")  # the call comes, and the client goes
            gone.cancel()
            task = await world.task(await world.job())
            assert ids(await next_one) == [task.id]
            assert desk._line.length(world.org_id) == 0

    run_async(body)


def test_no_timer_runs_while_nothing_is_reserved() -> None:
    """Idle means idle: neither waiting nor a finished reservation leaves a timer behind."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            task = await world.task(await world.job())
            await desk.look(pending(world), "a")
            assert desk._reservations._timer is not None
            await world.claim(task)
            desk._reservations._end_due()
            assert desk._reservations._timer is None

    run_async(body)


def test_pages_of_an_agent_do_not_overlap_while_others_hide_tasks() -> None:
    """Paging counts what the agent can see."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            job = await world.job()
            for _ in range(6):
                await world.task(job)
            await desk.look(pending(world, page=Page(size=2)), "other")
            pages = [
                set(ids(await desk.look(pending(world, page=Page(number=n, size=2)), "a"))) for n in (1, 2, 3)
            ]
            assert [len(page) for page in pages] == [2, 2, 0]
            assert all(not one & two for one, two in pairwise(pages))

    run_async(body)
