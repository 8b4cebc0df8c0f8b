"""Commands that are asked for together: each stands alone, and is answered in its place."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.activity import Durations
from server.store.commands import CreateToken, UpdateTask
from server.store.refusal import Refused, StoreBusy, StoreFailed
from server.store.sqlite import writer
from server.store.sqlite.store import SqliteStore
from server.timed_store import timed
from server.tokens import WORK, hash_token
from tests.unit.server.world import World, opened, run_async

pytestmark = pytest.mark.usefixtures("each_store")


def rename(world: World, task_id: str, title: str) -> UpdateTask:
    """Return a command that is refused where there is no such task."""
    return UpdateTask(org_id=world.org_id, id=task_id, title=title)


def test_each_is_answered_in_its_place_and_one_that_is_refused_undoes_no_other() -> None:
    """Whatever became of the others."""

    @run_async
    async def _() -> None:
        async with opened() as world:
            job = await world.job()
            one, two = await world.task(job), await world.task(job)
            asked = [rename(world, one.id, "1"), rename(world, "none", "?"), rename(world, two.id, "2")]
            first, refused, last = await world.store.apply_each(asked)
            assert isinstance(refused, Refused)
            titles = [found.task.title for found in (first, last) if not isinstance(found, Exception)]
            assert titles == ["1", "2"]
            assert await world.store.apply_each([]) == []


def test_a_token_that_is_made_beside_others_is_known_at_once() -> None:
    """A store remembers tokens for a while, but not past a change of its own."""

    @run_async
    async def _() -> None:
        async with opened() as world:
            made = CreateToken(org_id=world.org_id, sha256=hash_token("t"), scopes=frozenset({WORK}), id="t")
            changed = CreateToken(
                org_id=world.org_id, sha256=hash_token("u"), scopes=frozenset({WORK}), id="t"
            )
            await world.store.apply_each([made])
            assert await world.store.principal(hash_token("t")) is not None
            await world.store.apply_each([changed])
            assert await world.store.principal(hash_token("t")) is None


def test_groups_of_different_size_that_wait_at_once_each_get_their_own_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More than a transaction takes, so that some of them go with the next one."""

    @run_async
    async def _() -> None:
        monkeypatch.setattr(writer, "MOST_IN_GROUP", 5)
        async with opened() as world:
            job = await world.job()
            tasks = [await world.task(job) for _ in range(4)]

            async def asked(number: int) -> list[Any]:
                title = str(number)
                return await world.store.apply_each(
                    [rename(world, task.id, title) for task in tasks[:number]]
                )

            groups = await asyncio.gather(*(asked(number) for number in (1, 4, 2, 3, 4, 1)))
            titles = [[found.task.title for found in group] for group in groups]
            assert titles == [[str(number)] * number for number in (1, 4, 2, 3, 4, 1)]


def test_where_too_many_wait_each_of_them_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is done; the queue of SQLite's writer, for that of PostgreSQL counts each by itself."""

    @run_async
    async def _() -> None:
        async with opened() as world:
            if not isinstance(world.store, SqliteStore):
                pytest.skip("the queue of SQLite's writer")
            task = await world.task(await world.job())
            monkeypatch.setattr(writer, "MOST_WAITING", 0)
            asked = [rename(world, task.id, "1"), rename(world, task.id, "2")]
            assert [type(found) for found in await world.store.apply_each(asked)] == [StoreBusy, StoreBusy]
            with pytest.raises(StoreBusy):
                await world.store.apply(asked[0])
            monkeypatch.undo()
            await world.store.close()
            assert [type(found) for found in await world.store.apply_each(asked)] == [
                StoreFailed,
                StoreFailed,
            ]


def test_those_that_are_done_wait_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many were asked for together, and whoever went away: else all were refused in the end."""

    @run_async
    async def _() -> None:
        monkeypatch.setattr(writer, "MOST_WAITING", 3)
        async with opened() as world:
            task = await world.task(await world.job())
            for _ in range(4):
                asked = [rename(world, task.id, "1"), rename(world, task.id, "2")]
                gone = asyncio.create_task(world.store.apply_each(asked))
                await asyncio.sleep(0)
                gone.cancel()
                await asyncio.gather(gone, return_exceptions=True)
                assert not isinstance((await world.store.apply_each(asked[:1]))[0], Exception)


def test_each_counts_in_the_bound_of_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """It bounds how long one of SQLite's waits for the others; those asked for together stay together."""

    @run_async
    async def _() -> None:
        sizes: list[int] = []
        apply_all = writer.apply_all

        def noting(db: Any, commands: Any, *others: Any) -> Any:
            sizes.append(len(commands))
            return apply_all(db, commands, *others)

        async with opened() as world:
            if not isinstance(world.store, SqliteStore):
                pytest.skip("PostgreSQL gives each a transaction of its own")
            task = await world.task(await world.job())
            monkeypatch.setattr(writer, "MOST_IN_GROUP", 6)
            monkeypatch.setattr(writer, "apply_all", noting)  # how they were grouped, which no answer tells
            asked = [rename(world, task.id, "1")] * 3
            await asyncio.gather(*(world.store.apply_each(asked) for _ in range(6)))
            assert sum(sizes) == 18
            assert max(sizes) <= 6


def test_each_is_counted_with_the_time_of_all() -> None:
    """The metrics count writes, however they were asked for, and those that are refused."""

    @run_async
    async def _() -> None:
        async with opened() as world:
            task = await world.task(await world.job())
            writes = Durations()
            store = timed(world.store, writes)
            await store.apply_each([rename(world, task.id, "1"), rename(world, "none", "?")])
            assert sum(writes.counts) == 2
