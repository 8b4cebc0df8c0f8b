"""What a command works with while it runs: the connection, the time, ids, and what to tell."""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from typing import Any, Final

from server.ids import IdSource
from server.store.changes import Change, TasksPending, TaskTaken
from server.store.rules import RunState, TaskState
from server.store.sqlite.counters import Counters

__all__ = ["Transaction"]

STATEMENTS: Final = 256  # kept ready; clients tell a few combinations of fields
RUN_STATE: Final = "id, created_at, started_at, stopped_at, result_code, progress"


class Transaction:
    """The statements that commands share, within a transaction that somebody else opened."""

    def __init__(self, db: sqlite3.Connection, now_ms: int, new_id: IdSource, counters: Counters) -> None:
        """Work on an open transaction at one point in time; who opened it writes the counters."""
        self.db = db
        self.counters = counters
        self.now_ms = now_ms
        self.new_id = new_id
        self.changes: list[Change] = []

    def one(self, sql: str, *values: object) -> sqlite3.Row | None:
        """Return the first row, or None."""
        row: sqlite3.Row | None = self.db.execute(sql, values).fetchone()
        return row

    def insert(self, table: str, **columns: Any) -> None:
        """Insert a row."""
        self.db.execute(_insert(table, tuple(columns)), tuple(columns.values()))

    def update(self, table: str, org_id: str, key: str, **columns: Any) -> None:
        """Change columns of the row with that key."""
        self.db.execute(_update(table, tuple(columns)), (*columns.values(), org_id, key))

    def live_run(self, org_id: str, task_id: str) -> RunState | None:
        """Return the task's started and not stopped run."""
        row = self.one(
            f"SELECT {RUN_STATE} FROM runs WHERE org_id = ? AND task_id = ?"  # noqa: S608
            " AND started_at IS NOT NULL AND stopped_at IS NULL",
            org_id,
            task_id,
        )
        return None if row is None else RunState(**dict(row))

    def latest_run(self, org_id: str, task_id: str) -> RunState | None:
        """Return the task's most recent run by `createdAt`."""
        row = self.one(
            f"SELECT {RUN_STATE} FROM runs WHERE org_id = ? AND task_id = ?"  # noqa: S608
            " ORDER BY created_at DESC LIMIT 1",
            org_id,
            task_id,
        )
        return None if row is None else RunState(**dict(row))

    def count(self, org_id: str, job_id: str, before: TaskState | None, after: TaskState) -> None:
        """Move a task from one state to another in its job's counters and status."""
        self.counters.move((org_id, job_id), before, after, self.now_ms)

    def tell(self, org_id: str, task_id: str, task_type: str, *, was: bool, claimable: bool) -> None:
        """Note for waiters that a task became claimable, or is not any more."""
        if claimable and not was:
            self.changes.append(TasksPending(org_id, task_type))
        elif was and not claimable:
            self.changes.append(TaskTaken(org_id, task_id))


@lru_cache(maxsize=STATEMENTS)
def _insert(table: str, names: tuple[str, ...]) -> str:
    marks = ", ".join("?" * len(names))
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - names are ours


@lru_cache(maxsize=STATEMENTS)
def _update(table: str, names: tuple[str, ...]) -> str:
    sets = ", ".join(f"{name} = ?" for name in names)
    return f"UPDATE {table} SET {sets} WHERE org_id = ? AND id = ?"  # noqa: S608 - names are ours
