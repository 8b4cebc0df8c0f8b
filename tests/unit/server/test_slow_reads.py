"""Lists that take long: bounded in time, one after another, on a file of SQLite."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from server.store.queries import Page, Sort, TaskQuery
from server.store.refusal import StoreBusy, TookTooLong
from server.store.sqlite import slow_reads
from server.store.sqlite.database import open_reader, open_writer
from server.store.sqlite.slow_reads import SlowReads
from server.store.sqlite.store import SqliteStore
from tests.unit.server.world import LIMIT_S, opened, run_async

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
ONE = "SELECT 1 AS one"


def reading(
    tmp_path: Path, main: Callable[[SlowReads, sqlite3.Connection], Awaitable[Any]], longest_s: float = 60.0
) -> None:
    """Read from a file; afterwards the connection must be as good as before."""

    async def scenario() -> None:
        path = tmp_path / "db.sqlite"
        open_writer(path).close()
        connection = open_reader(path)
        reads = SlowReads(connection, longest_s)
        try:
            async with asyncio.timeout(LIMIT_S):
                await main(reads, connection)
                assert await reads.all(ONE, []) == [{"one": 1}]
        finally:
            connection.close()

    run_async(scenario)


def test_a_read_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    """As a statement is on PostgreSQL; the next one is not."""

    async def main(reads: SlowReads, _: sqlite3.Connection) -> None:
        with pytest.raises(TookTooLong):
            await reads.all(ENDLESS, [])

    reading(tmp_path, main, longest_s=0.2)


def test_a_read_that_nobody_waits_for_any_more_is_stopped_before_the_next(tmp_path: Path) -> None:
    """No connection is used by two threads at once."""

    async def main(reads: SlowReads, _: sqlite3.Connection) -> None:
        first = asyncio.create_task(reads.all(ENDLESS, []))
        await asyncio.sleep(0.05)  # it is at it, as a rule
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

        again = asyncio.create_task(reads.all(ENDLESS, []))
        await asyncio.sleep(0)  # the thread has not begun
        again.cancel()
        with pytest.raises(asyncio.CancelledError):
            await again

    reading(tmp_path, main)


def test_who_waits_too_long_for_its_turn_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of long lists is no reason to wait for ever."""
    monkeypatch.setattr(slow_reads, "LONGEST_WAIT_S", 0.05)

    async def main(reads: SlowReads, _: sqlite3.Connection) -> None:
        first = asyncio.create_task(reads.all(ENDLESS, []))
        await asyncio.sleep(0)
        with pytest.raises(StoreBusy):
            await reads.all(ONE, [])
        with pytest.raises(TookTooLong):
            await first

    reading(tmp_path, main, longest_s=0.5)


def test_other_errors_of_a_read_are_what_they_are(tmp_path: Path) -> None:
    """Not taken for an interruption."""

    async def main(reads: SlowReads, _: sqlite3.Connection) -> None:
        with pytest.raises(sqlite3.OperationalError):
            await reads.all("SELECT nothing FROM nowhere", [])

    reading(tmp_path, main)


@pytest.mark.parametrize("field", ["title", "runStatus"])
def test_a_list_that_takes_too_long_says_by_what_it_was_sorted(
    tmp_path: Path, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is quicker."""

    async def scenario() -> None:
        async with opened(f"sqlite:///{tmp_path}/db.sqlite") as world:
            assert isinstance(world.store, SqliteStore)
            job = await world.job()
            for _ in range(3):
                await world.task(job)
            query = TaskQuery(org_id=world.org_id, page=Page(sort=Sort(field)))
            assert len(await world.store.tasks(query)) == 3
            assert world.store._slow_reads is not None
            world.store._slow_reads._longest_s = -1.0
            monkeypatch.setattr(slow_reads, "STEPS", 1)
            with pytest.raises(TookTooLong, match=f"sorted by {field} took too long.*createdAt"):
                await world.store.tasks(query)

    run_async(scenario)
