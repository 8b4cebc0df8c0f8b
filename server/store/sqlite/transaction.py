"""A transaction on SQLite: the one writer's, so nothing needs a lock of its own."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from server.ids import IdSource
from server.store.sql.dialect import Row
from server.store.sql.transaction import Counting, Transaction, Values
from server.store.sqlite.database import all_rows
from server.store.sqlite.dialect import SQLITE
from server.store.sqlite.migrate import newest_version

__all__ = ["SqliteTransaction"]

DIGEST_BYTES: Final = 16
DIGESTS: Final = 64  # remembered: what most machines say differs from run to run in nothing
SHORTEST_KEPT_ONCE: Final = 100  # characters; a digest has 32
IS_KEPT: Final = "SELECT 1 FROM machines WHERE org_id = ? AND job_id = ? AND digest = ?"
KEEP_MACHINE: Final = "INSERT INTO machines VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
FORGET_MACHINES: Final = """
DELETE FROM machines WHERE org_id = ? AND job_id = ? AND digest IN (
    SELECT digest FROM machines WHERE org_id = ? AND job_id = ? LIMIT ?)"""

PLACE_RESULTS: Final = "INSERT INTO run_results (body) VALUES (?)"
REPLACE_RESULTS: Final = "UPDATE run_results SET body = ? WHERE id = ?"
FORGET_RESULTS: Final = """
DELETE FROM run_results WHERE id IN (
    SELECT results_id FROM runs WHERE org_id = :org AND id IN (SELECT value FROM json_each(:ids)))"""


@lru_cache(maxsize=DIGESTS)
def _digest_of(machine: str) -> str:
    return hashlib.blake2b(machine.encode(), digest_size=DIGEST_BYTES).hexdigest()


class SqliteTransaction(Transaction):
    """Statements on the connection that writes."""

    dialect = SQLITE
    spares_last_sample = True
    now_ms = 0  # a plain attribute: each command asks for it often

    def __init__(self, db: sqlite3.Connection, now_ms: int, new_id: IdSource, counters: Counting) -> None:
        """Work on an open transaction."""
        super().__init__(new_id, counters)
        self.db = db
        self.now_ms = now_ms
        self._machines = set[tuple[str, str, str]]()  # that are kept; commands of a group say the same mostly

    def forget_since(self, changes: int) -> None:
        """Forget what the last command noted, which is taken back; before it there were so many changes."""
        del self.changes[changes:]
        self.counters.clear()
        self._machines.clear()

    def is_known_schema(self, version: int) -> bool:
        """Only its own: whoever changed it has taken the database over."""
        return version == newest_version()

    def all(self, sql: str, values: Values = ()) -> Sequence[Row]:
        """Return all rows."""
        return all_rows(self.db.execute(sql, values))

    def one(self, sql: str, *values: object) -> Row | None:
        """Return the first row, or None."""
        row = self.db.execute(sql, values).fetchone()
        return None if row is None else dict(zip(row.keys(), row, strict=True))

    def execute(self, sql: str, values: Values = ()) -> None:
        """Do a statement that returns nothing."""
        self.db.execute(sql, values)

    def keep_machine(self, org_id: str, job_id: str, machine: str, before: str | None = None) -> str:
        """Keep a text once for a job, and return its digest; a short one costs less where it is.

        Each run adds one at most: what it says anew stays in its row, unless another run said the same. An
        agent that tells its load as well would leave a text behind with every report, until its job goes.
        """
        if len(machine) < SHORTEST_KEPT_ONCE:
            return machine
        digest = _digest_of(machine)
        key = (org_id, job_id, digest)
        if key in self._machines:
            return digest
        if before in (None, digest):
            self.db.execute(KEEP_MACHINE, (*key, machine))
        elif self.db.execute(IS_KEPT, key).fetchone() is None:
            return machine
        self._machines.add(key)
        return digest

    def place_results(self, body: str, results_id: int | None = None) -> Mapping[str, Any]:
        """Put them into the next place, or into that of the ones before."""
        if results_id is None:
            return {"results_id": self.db.execute(PLACE_RESULTS, (body,)).lastrowid}
        self.db.execute(REPLACE_RESULTS, (body, results_id))
        return {}

    def keep_results(self, org_id: str, run_id: str, body: str) -> None:
        """They lie where `place_results` put them."""

    def forget_results(self, org_id: str, run_ids: Sequence[str]) -> None:
        """Delete those that lie by a number, and those of older releases."""
        self.db.execute(FORGET_RESULTS, {"org": org_id, "ids": self.dialect.as_list(run_ids)})
        super().forget_results(org_id, run_ids)

    def forget_machines(self, org_id: str, job_id: str, most: int) -> int:
        """Delete them; none of the job's runs is left."""
        self._machines.clear()
        return self.db.execute(FORGET_MACHINES, (org_id, job_id, org_id, job_id, most)).rowcount

    def lock_task_of(self, org_id: str, run_id: str) -> None:
        """Nobody else writes."""
