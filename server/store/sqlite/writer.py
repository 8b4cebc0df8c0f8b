"""The one thread that writes: it takes all commands that wait and commits them together.

One fsync then serves many callers (group commit), which makes durability cost little under load and
nothing but the fsync without. A command that is refused undoes no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Sequence
from itertools import islice
from queue import SimpleQueue
from typing import Any, Final

import structlog
from msgspec import Struct

from server.ids import IdSource
from server.store.changes import Change, Listener
from server.store.commands import Command
from server.store.refusal import Refused, StoreBusy, StoreFailed
from server.store.sql.execute import execute
from server.store.sqlite.counters import Counters
from server.store.sqlite.transaction import SqliteTransaction
from server.times import to_ms
from worker.clock import Clock

__all__ = ["Writer", "apply_all"]

MOST_WAITING: Final = 4096  # commands; beyond that callers are told to come back
MOST_IN_GROUP: Final = 256  # commands, when more are added; bounds how long one caller waits for others

log = structlog.get_logger(__name__)

Result = Any  # an answer, or the exception that the caller gets


class Waiting(Struct, frozen=True):
    """Commands that were asked for together, and who waits for their answers."""

    commands: Sequence[Command[Any]]
    future: asyncio.Future[list[Result]]


class Writer:
    """Owns the connection that writes."""

    def __init__(
        self, db: sqlite3.Connection, lock: threading.Lock, clock: Clock, new_id: IdSource, listener: Listener
    ) -> None:
        """Prepare; `start` begins. The lock is held while a group is written."""
        self._db = db
        self._lock = lock
        self._clock = clock
        self._new_id = new_id
        self._listener = listener
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._waiting = 0  # only touched on the event loop
        self._is_running = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start the thread; answers go to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._is_running = True
        self._thread.start()

    async def stop(self) -> None:
        """Finish what waits, then end the thread. Nothing may be submitted afterwards."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    async def submit(self, commands: Sequence[Command[Any]]) -> list[Result]:
        """Wait until the commands are durable; return for each its answer, or the exception of who asked."""
        if self._loop is None or not self._is_running:
            return [StoreFailed("The store is closed")] * len(commands)
        if self._waiting >= MOST_WAITING:
            return [StoreBusy(f"{self._waiting} writes wait already")] * len(commands)
        future: asyncio.Future[list[Result]] = self._loop.create_future()
        self._waiting += len(commands)
        self._queue.put(Waiting(commands, future))
        # A caller that goes away does not take its commands back: they may be in a commit already.
        return await future

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._is_running = False

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            group, is_last = self._take_waiting(first)
            results, changes = self._write([command for waiting in group for command in waiting.commands])
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                assert self._loop is not None
                self._loop.call_soon_threadsafe(self._deliver, group, results, changes)
            if is_last:
                return

    def _take_waiting(self, first: Waiting) -> tuple[list[Waiting], bool]:
        group, commands = [first], len(first.commands)
        while commands < MOST_IN_GROUP and not self._queue.empty():  # nobody else takes from it
            if (waiting := self._queue.get_nowait()) is None:
                return group, True
            group.append(waiting)
            commands += len(waiting.commands)
        return group, False

    def _write(self, commands: Sequence[Command[Any]]) -> tuple[list[Result], list[Change]]:
        try:
            with self._lock:
                return apply_all(self._db, commands, self._clock, self._new_id)
        except Exception as exc:
            log.exception("store.commit_failed", commands=len(commands))
            return [_failed(exc)] * len(commands), []

    def _deliver(self, group: list[Waiting], results: list[Result], changes: list[Change]) -> None:
        self._waiting -= len(results)
        try:
            if changes:
                self._listener(changes)
        finally:  # what is durable is told, whatever becomes of the word of it
            left = iter(results)
            for waiting in group:
                own = list(islice(left, len(waiting.commands)))
                if not waiting.future.done():
                    waiting.future.set_result(own)


def apply_all(
    db: sqlite3.Connection, commands: Sequence[Command[Any]], clock: Clock, new_id: IdSource
) -> tuple[list[Result], list[Change]]:
    """Do all commands in one transaction; return an answer or an exception for each, and what changed.

    Commands refuse before they write, so a group needs no savepoints as a rule. Where one fails
    halfway all the same, the group is taken back and done again with a savepoint for each.

    Raises:
        sqlite3.Error: the transaction could not be committed; none of the commands happened.
    """
    try:
        return _apply_group(db, commands, clock, new_id, _apply_plainly)
    except FailedHalfway:
        return _apply_group(db, commands, clock, new_id, _apply_safely)


class FailedHalfway(Exception):  # noqa: N818 - never leaves this module
    """A command wrote something before it failed."""


def _apply_group(
    db: sqlite3.Connection,
    commands: Sequence[Command[Any]],
    clock: Clock,
    new_id: IdSource,
    apply_one: Callable[[SqliteTransaction, Command[Any]], Result],
) -> tuple[list[Result], list[Change]]:
    db.execute("BEGIN IMMEDIATE")
    try:
        now_ms = to_ms(clock.now())  # of all of them, once nobody else writes
        tx = SqliteTransaction(db, now_ms, new_id, Counters(db))
        results = [apply_one(tx, command) for command in commands]
        tx.counters.write()
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return results, tx.changes


def _apply_plainly(tx: SqliteTransaction, command: Command[Any]) -> Result:
    before = tx.db.total_changes
    try:
        return execute(tx, command)
    except Refused as refused:
        if tx.db.total_changes != before:
            raise FailedHalfway from refused
        return refused
    except Exception as exc:
        raise FailedHalfway from exc


def _apply_safely(tx: SqliteTransaction, command: Command[Any]) -> Result:
    tx.db.execute("SAVEPOINT command")
    changes = len(tx.changes)
    try:
        result = execute(tx, command)
        tx.counters.write()
    except Exception as exc:
        if not tx.db.in_transaction:  # SQLite gave the whole transaction up (disk full, I/O error)
            raise
        tx.db.execute("ROLLBACK TO command")
        tx.forget_since(changes)
        result = _as_result(exc, command)
    tx.db.execute("RELEASE command")
    return result


def _as_result(exc: Exception, command: Command[Any]) -> Exception:
    """Return what the caller gets for a failure; all but refusals are for a person to see."""
    if isinstance(exc, Refused):
        return exc
    log.exception("store.command_failed", command=type(command).__name__)
    return _failed(exc) if isinstance(exc, sqlite3.OperationalError) else exc


def _failed(exc: Exception) -> StoreFailed:
    return StoreFailed(f"The database could not make the write durable: {exc}")
