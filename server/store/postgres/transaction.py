"""A transaction on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final, cast

import psycopg

from server.ids import IdSource
from server.store.postgres.counters import Counters
from server.store.postgres.dialect import POSTGRES, psycopg_form
from server.store.postgres.migrate import newest_version
from server.store.sql.dialect import Row
from server.store.sql.transaction import Transaction, Values

__all__ = ["PostgresTransaction"]

LOCK: Final = (
    "SELECT 1 FROM runs r JOIN tasks t ON t.org_id = r.org_id AND t.id = r.task_id"
    " JOIN jobs j ON j.org_id = t.org_id AND j.id = t.job_id WHERE r.org_id = ? AND r.id = ?"
)


class PostgresTransaction(Transaction):
    """Statements on a connection, READ COMMITTED: each sees what was committed before it began.

    So a lock is a statement of its own, and what it guards is read by the next one.
    """

    dialect = POSTGRES

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        pipeline: psycopg.Pipeline,
        now: Callable[[], int],
        new_id: IdSource,
        shard: int,
    ) -> None:
        """Work on an open transaction, in a pipeline."""
        super().__init__(new_id, Counters(self.execute, shard))
        self._connection = connection
        self._pipeline = pipeline
        self._now = now
        self._waiting: list[tuple[str, Values]] = []

    @cached_property
    def now_ms(self) -> int:
        """Return the database's time at the beginning."""
        return self._now()

    def is_known_schema(self, version: int) -> bool:
        """Also newer ones: releases only add to it, so that older servers work on during an update."""
        return version >= newest_version()

    def all(self, sql: str, values: Values = ()) -> Sequence[Row]:
        """Return all rows."""
        self.send()
        cursor = self._connection.execute(psycopg_form(sql), values)
        self._pipeline.sync()
        return cast(Sequence[Row], cursor.fetchall())

    def execute(self, sql: str, values: Values = ()) -> None:
        """Do a statement that returns nothing, together with the next one that asks."""
        self._waiting.append((sql, values))

    def send(self) -> None:
        """Send what waits; a sync must follow at once.

        Only after a sync does the database count the time that this process stands still in a transaction.
        """
        waiting, self._waiting = self._waiting, []
        for sql, values in waiting:
            self._connection.execute(psycopg_form(sql), values)

    def lock_task_of(self, org_id: str, run_id: str) -> None:
        """Lock the task of a run, and its job's state."""
        self.execute(LOCK + self.dialect.lock_task, (org_id, run_id))
