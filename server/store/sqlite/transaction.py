"""A transaction on SQLite: the one writer's, so nothing needs a lock of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from server.ids import IdSource
from server.store.sql.dialect import Row
from server.store.sql.transaction import Counting, Transaction, Values
from server.store.sqlite.dialect import SQLITE
from server.store.sqlite.migrate import newest_version

__all__ = ["SqliteTransaction"]


class SqliteTransaction(Transaction):
    """Statements on the connection that writes."""

    dialect = SQLITE

    def __init__(self, db: sqlite3.Connection, now_ms: int, new_id: IdSource, counters: Counting) -> None:
        """Work on an open transaction."""
        super().__init__(new_id, counters)
        self.db = db
        self._now_ms = now_ms

    @property
    def now_ms(self) -> int:
        """Return the time at which the command began."""
        return self._now_ms

    def is_known_schema(self, version: int) -> bool:
        """Only its own: whoever changed it has taken the database over."""
        return version == newest_version()

    def all(self, sql: str, values: Values = ()) -> Sequence[Row]:
        """Return all rows."""
        return self.db.execute(sql, values).fetchall()

    def execute(self, sql: str, values: Values = ()) -> None:
        """Do a statement that returns nothing."""
        self.db.execute(sql, values)

    def lock_task_of(self, org_id: str, run_id: str) -> None:
        """Nobody else writes."""
