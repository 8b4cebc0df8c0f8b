"""Counters of jobs: what a group of commands adds to them, written once before the group's commit."""

from __future__ import annotations

import sqlite3

from server.store.rules import JobTotals, TaskState, job_status

__all__ = ["Counters"]

SHARD = 0  # this writer's; the sums over all shards are right, so other writers may have their own

JobKey = tuple[str, str]  # organisation, job
Share = tuple[int, int, int, int, int, int]  # pending, running, stopped, failures, successes, progress
NOTHING: Share = (0, 0, 0, 0, 0, 0)


class Counters:
    """Collects changes, so that a hundred runs of a job cost one write of its counters."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Write within the transaction that is open then."""
        self._db = db
        self._changed: dict[JobKey, tuple[Share, int]] = {}

    def move(
        self, job: JobKey, before: TaskState | None, after: TaskState, now_ms: int, tasks: int = 1
    ) -> None:
        """Move tasks of a job from one state to another; from None: they are new."""
        delta, _ = self._changed.get(job, (NOTHING, 0))
        old, new = _share(before), _share(after)
        changed = [d + tasks * (n - o) for d, n, o in zip(delta, new, old, strict=True)]
        self._changed[job] = (_as_share(changed), now_ms)

    def clear(self) -> None:
        """Forget what was not written: its commands are taken back."""
        self._changed.clear()

    def write(self) -> None:
        """Bring the counters and status of all changed jobs up to date."""
        changed, self._changed = self._changed, {}
        for (org_id, job_id), (delta, now_ms) in changed.items():
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


def _share(state: TaskState | None) -> Share:
    """Return what a task in that state adds to the counters."""
    if state is None:
        return NOTHING
    if state.status == "stopped":
        success = int(state.result == "Success")
        return (0, 0, 1, 1 - success, success, state.weight)
    running = int(state.status == "running")
    return (1 - running, running, 0, 0, 0, state.weight)


def _as_share(numbers: list[int]) -> Share:
    pending, running, stopped, failures, successes, progress = numbers
    return (pending, running, stopped, failures, successes, progress)
