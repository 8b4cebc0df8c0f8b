"""Looks of those who wait take their time: what happens meanwhile is for them, or for the next in line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from server.pending import line
from server.pending.desk import Desk
from server.store.commands import EnsureOrganisation
from server.store.queries import TaskQuery
from server.store.records import TaskAnswer
from server.store.store import Store
from tests.unit.server.world import LIMIT_S, World, fresh_database, run_async

pytestmark = pytest.mark.usefixtures("each_store")


def pending(world: World, *types: str) -> TaskQuery:
    """Return the query of an agent that polls."""
    return TaskQuery(org_id=world.org_id, statuses=("pending",), types=types)


def ids(answers: list[TaskAnswer]) -> list[str]:
    """Return which tasks were listed."""
    return [answer.task.id for answer in answers]


class HeldLooks:
    """A store whose lists of tasks wait before and after they are read, as those of a busy database do."""

    def __init__(self, store: Store, held: str) -> None:
        """Hold the looks of queries for this type of task."""
        self._store = store
        self._held = held
        self.looks = 0
        self.reads = 0
        self.may_read, self.may_return = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def tasks(self, query: TaskQuery) -> list[TaskAnswer]:
        """Read when that is allowed, and return it when that is."""
        if self._held not in query.types:
            return await self._store.tasks(query)
        self.looks += 1
        await self.may_read.wait()
        found = await self._store.tasks(query)
        self.reads += 1
        await self.may_return.wait()
        return found


@asynccontextmanager
async def held_desk() -> AsyncIterator[tuple[World, Desk, HeldLooks]]:
    """Open a desk whose looks for the type ``held`` wait until they may go on."""
    with fresh_database() as url:
        world = World(url)
        store = HeldLooks(world.store, "held")
        desk = Desk(cast(Store, store))
        await world.store.start(desk.on_changes)
        try:
            world.org_id = await world.store.apply(EnsureOrganisation(name="ours"))
            yield world, desk, store
        finally:
            desk.close()
            await world.store.close()


async def until(condition: Callable[[], bool]) -> None:
    """Let others go on until it holds; the test's own limit ends it."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.001)


def test_a_task_that_comes_during_a_look_for_another_is_for_the_next_in_line() -> None:
    """Who found something leaves the line with it; what came meanwhile it has not seen."""

    async def body() -> None:
        async with held_desk() as (world, desk, store):
            job = await world.job()
            seen = await world.task(job, type="held")
            store.may_read.set()
            looking = asyncio.create_task(desk.wait(pending(world, "held", "b"), "a", LIMIT_S))
            await until(lambda: store.reads == 1)
            next_one = asyncio.create_task(desk.wait(pending(world, "b"), "b", LIMIT_S))
            await until(lambda: desk._line.length(world.org_id) == 2)
            task = await world.task(job, type="b")
            store.may_return.set()
            assert ids(await looking) == [seen.id]
            assert ids(await next_one) == [task.id]

    run_async(body)


def test_a_task_that_comes_during_a_look_that_finds_nothing_is_found_by_the_next_look() -> None:
    """The only one in line looks again at once, and does not wait for the end of its time."""

    async def body() -> None:
        async with held_desk() as (world, desk, store):
            store.may_read.set()
            store.may_return.set()
            job = await world.job()
            waiting = asyncio.create_task(desk.wait(pending(world, "held"), "a", LIMIT_S))
            await until(lambda: store.reads == 1)
            store.may_read.clear()
            taken = await world.task(job, type="held")
            await until(lambda: store.looks == 2)
            await world.claim(taken)
            store.may_return.clear()
            store.may_read.set()
            await until(lambda: store.reads == 2)
            task = await world.task(job, type="held")
            store.may_return.set()
            assert ids(await waiting) == [task.id]

    run_async(body)


def test_who_goes_in_the_middle_of_a_second_look_leaves_the_task_to_the_next() -> None:
    """A call that came during a look is answered by no look before the next one has ended."""

    async def body() -> None:
        async with held_desk() as (world, desk, store):
            store.may_read.set()
            gone = asyncio.create_task(desk.wait(pending(world, "held", "b"), "a", LIMIT_S))
            await until(lambda: store.reads == 1)
            next_one = asyncio.create_task(desk.wait(pending(world, "b"), "b", LIMIT_S))
            await until(lambda: desk._line.length(world.org_id) == 2)
            store.may_read.clear()
            task = await world.task(await world.job(), type="b")
            store.may_return.set()
            await until(lambda: store.looks == 2)
            gone.cancel()
            assert ids(await next_one) == [task.id]

    run_async(body)


def test_who_was_sent_away_in_the_middle_of_a_look_takes_what_it_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where nobody of its organisation is left in the line to share it with."""
    monkeypatch.setattr(line, "MOST_WAITING", 2)

    async def body() -> None:
        async with held_desk() as (world, desk, store):
            task = await world.task(await world.job(), type="held")
            store.may_read.set()
            first = asyncio.create_task(desk.wait(pending(world, "held"), "a", LIMIT_S))
            await until(lambda: store.reads == 1)
            second = asyncio.create_task(desk.wait(pending(world, "b"), "b", LIMIT_S))
            await until(lambda: desk._line.length(world.org_id) == 2)
            theirs = TaskQuery(org_id="theirs", statuses=("pending",))
            other = asyncio.create_task(desk.wait(theirs, "c", LIMIT_S))
            await until(lambda: desk._line.length(world.org_id) == 1)
            second.cancel()
            await until(lambda: desk._line.length(world.org_id) == 0)
            store.may_return.set()
            assert ids(await first) == [task.id]
            desk.close()
            assert await other == []

    run_async(body)
