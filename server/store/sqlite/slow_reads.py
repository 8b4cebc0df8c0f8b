"""Reads that may take long: in a thread, one after another, each for a bounded time."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from server.store.refusal import StoreBusy, TookTooLong
from server.store.sqlite.database import all_rows

__all__ = ["SlowReads"]

LONGEST_S: Final = 10.0  # for one; a statement on PostgreSQL has as long (`DatabaseOptions.timeout_s`)
LONGEST_WAIT_S: Final = 30.0  # for those before it
STEPS: Final = 100_000  # of SQLite's machine between two looks at the clock: some milliseconds


class SlowReads:
    """A connection of their own; used on one event loop."""

    def __init__(self, connection: sqlite3.Connection, longest_s: float = LONGEST_S) -> None:
        """Take a connection that nobody else uses, and that somebody else closes."""
        self._connection = connection
        self._longest_s = longest_s
        self._turns = asyncio.Lock()

    async def all(self, sql: str, values: list[Any]) -> list[dict[str, Any]]:
        """Return what a statement finds; who is cancelled stops it.

        Raises:
            TookTooLong: it took longer than it may.
            StoreBusy: those before it took too long; nothing was tried.
        """
        try:
            async with asyncio.timeout(LONGEST_WAIT_S):
                await self._turns.acquire()
        except TimeoutError as exc:
            raise StoreBusy(f"Other long lists took all of {LONGEST_WAIT_S:.0f} s") from exc
        try:
            return await self._read(sql, values)
        finally:
            self._turns.release()

    async def _read(self, sql: str, values: list[Any]) -> list[dict[str, Any]]:
        given_up, end_mono = threading.Event(), time.monotonic() + self._longest_s

        def is_over() -> bool:
            return given_up.is_set() or time.monotonic() >= end_mono

        thread = asyncio.to_thread(all_until, is_over, self._connection, sql, values)
        reading = asyncio.create_task(thread)
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:  # the thread must be off the connection before another one uses it
            given_up.set()
            await asyncio.wait({reading})
            if not reading.cancelled():
                reading.exception()
            raise


def all_until(
    is_over: Callable[[], bool], connection: sqlite3.Connection, sql: str, values: list[Any]
) -> list[dict[str, Any]]:
    """Return what a statement finds; `is_over` is asked every few milliseconds whether it is to be stopped.

    Raises:
        TookTooLong: it was.
    """
    connection.set_progress_handler(is_over, STEPS)
    try:
        return all_rows(connection.execute(sql, values))
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        raise TookTooLong from exc
    finally:
        connection.set_progress_handler(None, 0)
