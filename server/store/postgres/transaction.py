"""A transaction on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final, cast

import psycopg

from server.ids import IdSource
from server.store.postgres.dialect import POSTGRES, psycopg_form
from server.store.postgres.migrate import newest_version
from server.store.sql.dialect import Row
from server.store.sql.transaction import Counting, Transaction, Values

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
        now: Callable[[], int],
        new_id: IdSource,
        counters: Counting,
    ) -> None:
        """Work on an open transaction, in a pipeline: what returns nothing goes with the next question."""
        super().__init__(new_id, counters)
        self._connection = connection
        self._now = now

    @cached_property
    def now_ms(self) -> int:
        """Return the database's time at the beginning."""
        return self._now()

    @property
    def schema_version(self) -> int:
        """Return the newest that came with the program."""
        return newest_version()

    def all(self, sql: str, values: Values = ()) -> Sequence[Row]:
        """Return all rows."""
        return cast(Sequence[Row], self._do(sql, values).fetchall())

    def execute(self, sql: str, values: Values = ()) -> None:
        """Do a statement that returns nothing."""
        self._do(sql, values)

    def lock_task_of(self, org_id: str, run_id: str) -> None:
        """Lock the task of a run, and its job's state."""
        self._do(LOCK + self.dialect.lock_task, (org_id, run_id))

    def _do(self, sql: str, values: Values) -> psycopg.Cursor[Any]:
        return self._connection.execute(psycopg_form(sql), values)
