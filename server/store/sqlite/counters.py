"""Counters of jobs: what a group of commands adds to them, written once before the group's commit."""

from __future__ import annotations

import sqlite3

from server.store.rules import JobTotals, job_status
from server.store.sql.shares import Moved, Share

__all__ = ["Counters"]

SHARD = 0  # the one writer's


class Counters(Moved):
    """Counters of the jobs in one row each, and the status that follows from them."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Write within the transaction that is open then."""
        super().__init__()
        self._db = db

    def write(self) -> None:
        """Bring the counters and status of all changed jobs up to date."""
        for (org_id, job_id), (delta, now_ms) in self.take().items():
            self._add(org_id, job_id, delta, now_ms)
            if any(delta[:3]):
                self._set_status(org_id, job_id)

    def _add(self, org_id: str, job_id: str, delta: Share, now_ms: int) -> None:
        self._db.execute(
            "INSERT INTO job_counters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (org_id, job_id, shard) DO UPDATE SET pending = pending + excluded.pending,"
            " running = running + excluded.running, stopped = stopped + excluded.stopped,"
            " failures = failures + excluded.failures, successes = successes + excluded.successes,"
            " progress = progress + excluded.progress, updated_at = excluded.updated_at",
            (org_id, job_id, SHARD, *delta, now_ms),
        )

    def _set_status(self, org_id: str, job_id: str) -> None:
        """A job's status follows its counters."""
        *totals, before = self._db.execute(
            "SELECT sum(pending), sum(running), sum(stopped),"
            " (SELECT status FROM jobs WHERE org_id = ? AND id = ?)"
            " FROM job_counters WHERE org_id = ? AND job_id = ?",
            (org_id, job_id) * 2,
        ).fetchone()
        status = job_status(JobTotals(*totals))
        if status != before:
            self._db.execute(
                "UPDATE jobs SET status = ? WHERE org_id = ? AND id = ?", (status, org_id, job_id)
            )
