"""Counters of jobs: a command adds its share to a row that other connections hardly ever write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from server.store.sql.shares import Moved

__all__ = ["SHARDS", "Counters"]

SHARDS: Final = 32  # rows of a busy job; each connection writes to one, drawn when it opens
ADD: Final = (
    "INSERT INTO job_counters AS c VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (org_id, job_id, shard) DO UPDATE SET pending = c.pending + excluded.pending,"
    " running = c.running + excluded.running, stopped = c.stopped + excluded.stopped,"
    " failures = c.failures + excluded.failures, successes = c.successes + excluded.successes,"
    " progress = c.progress + excluded.progress, updated_at = greatest(c.updated_at, excluded.updated_at)"
)


class Counters(Moved):
    """The moves of one transaction."""

    def __init__(self, execute: Callable[[str, Sequence[object]], None], shard: int) -> None:
        """Write by the transaction's statements, in a shard."""
        super().__init__()
        self._execute = execute
        self._shard = shard

    def write(self) -> None:
        """Add what was moved; last in a transaction, so that the rows are locked for its commit only.

        In one order, as two who write the rows of two jobs in different ones would wait for each other.
        """
        for (org_id, job_id), (delta, now_ms) in sorted(self.take().items()):
            self._execute(ADD, (org_id, job_id, self._shard, *delta, now_ms))
