"""Delete finished jobs, in parts: one may have a million tasks, and nobody else shall wait for them.

From the first part on the job is not there for anybody, so its numbers never say less than there is. Its
runs go first, each with its results and samples, then its tasks, then what is kept of machines, at last the
job. After a crash in between the next look finds it again and goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from server.store.commands import DeleteJob
from server.store.records import Deletion, JobAge
from server.store.rules import JobTotals, is_finished
from server.store.sql.dialect import Dialect, Row
from server.store.sql.transaction import Transaction

__all__ = ["awaits_results", "delete_job", "select_ages"]

RUNS_AT_ONCE: Final = 5_000  # rows of one read

JOB: Final = "SELECT scheduler_state, updated_at, deleted_at FROM jobs WHERE org_id = ? AND id = ?"
COUNTED: Final = """
SELECT coalesce(sum(pending), 0) AS pending, coalesce(sum(running), 0) AS running,
       coalesce(sum(stopped), 0) AS stopped, coalesce(max(updated_at), 0) AS changed_at
FROM job_counters WHERE org_id = ? AND job_id = ?"""
RUNS: Final = """
SELECT id, usage_samples FROM runs WHERE org_id = ? AND job_id = ? ORDER BY created_at, id LIMIT ?"""
TASKS: Final = """
SELECT id FROM tasks WHERE org_id = ? AND job_id = ? AND run_status = 'stopped'
ORDER BY created_at, id LIMIT ?"""
# A run that was stopped for its silence, and that its task still shows: see `reaping.make_room`.
ENDED: Final = """
SELECT r.created_at, r.id,
       (r.lease_until IS NOT NULL AND r.stopped_at > ? AND EXISTS (
            SELECT 1 FROM tasks t WHERE t.org_id = r.org_id AND t.id = r.task_id AND t.current_run_id = r.id
        )) AS is_awaited
FROM runs r WHERE r.org_id = ? AND r.job_id = ? AND (r.created_at, r.id) > (?, ?)
ORDER BY r.created_at, r.id LIMIT ?"""


def select_ages(dialect: Dialect, after: JobAge | None, most: int) -> tuple[str, list[object]]:
    """Return the statement for the jobs that come after another, by organisation, age and id."""
    order = "j.org_id, j.created_at, j.id"
    if after is None:
        return dialect.jobs("TRUE", order, "LIMIT ?"), [most]
    where = "(j.org_id, j.created_at, j.id) > (?, ?, ?)"
    return dialect.jobs(where, order, "LIMIT ?"), [after.org_id, after.created_at, after.id, most]


async def awaits_results(
    read: Callable[[str, list[object]], Awaitable[Sequence[Row]]], org_id: str, job_id: str, since_ms: int
) -> bool:
    """Tell whether a run that was stopped for its silence since then may still be reported on."""
    at, id_ = -1, ""
    while rows := await read(ENDED, [since_ms, org_id, job_id, at, id_, RUNS_AT_ONCE]):
        if any(row["is_awaited"] for row in rows):
            return True
        at, id_ = rows[-1]["created_at"], rows[-1]["id"]
    return False


def delete_job(tx: Transaction, command: DeleteJob) -> Deletion:
    """Delete a job that may go, or a part of it."""
    org_id, job_id = command.org_id, command.id
    job = tx.one(f"{JOB} {tx.dialect.change_job}", org_id, job_id)  # nobody adds a task to it from here on
    if job is None or (job["deleted_at"] is None and not _may_go(tx, command, job)):
        return Deletion.KEPT
    if job["deleted_at"] is None:
        tx.update("jobs", org_id, job_id, deleted_at=tx.now_ms)
    room = _delete_runs(tx, org_id, job_id, command.most)
    if room > 0:
        room = _delete_tasks(tx, org_id, job_id, room)
    if room > 0:
        room -= tx.forget_machines(org_id, job_id, room)
    if room <= 0:
        return Deletion.PARTLY
    tx.execute("DELETE FROM job_counters WHERE org_id = ? AND job_id = ?", (org_id, job_id))
    tx.execute("DELETE FROM jobs WHERE org_id = ? AND id = ?", (org_id, job_id))
    return Deletion.GONE


def _may_go(tx: Transaction, command: DeleteJob, job: Row) -> bool:
    """Look again, with the job's lock held: it may have got tasks since it was chosen."""
    tx.counters.write()  # what earlier commands of the group changed counts
    counted = tx.one(COUNTED, command.org_id, command.id)
    assert counted is not None
    totals = JobTotals(*(int(counted[name]) for name in ("pending", "running", "stopped")))
    changed_at = max(job["updated_at"], counted["changed_at"])
    return (
        is_finished(totals, job["scheduler_state"])
        and changed_at == command.changed_at
        and changed_at <= tx.now_ms - command.age_ms
    )


def _delete_runs(tx: Transaction, org_id: str, job_id: str, room: int) -> int:
    """Delete the oldest runs, as many as there is room for rows; return how much room is left."""
    ids = list[str]()
    for row in tx.all(RUNS, (org_id, job_id, room)):
        ids.append(row["id"])
        room -= 1 + row["usage_samples"]
        if room <= 0:
            break
    if ids:
        tx.forget_results(org_id, ids)
        some = {"org": org_id, "ids": tx.dialect.as_list(ids)}
        for table, key in (("usage_samples", "run_id"), ("runs", "id")):
            tx.execute(_delete(tx.dialect, table, key), some)
    return room


def _delete_tasks(tx: Transaction, org_id: str, job_id: str, room: int) -> int:
    ids = [row["id"] for row in tx.all(TASKS, (org_id, job_id, room))]
    if ids:
        tx.execute(_delete(tx.dialect, "tasks", "id"), {"org": org_id, "ids": tx.dialect.as_list(ids)})
    return room - len(ids)


def _delete(dialect: Dialect, table: str, key: str) -> str:
    return f"DELETE FROM {table} WHERE org_id = :org AND {key} IN {dialect.in_list(':ids')}"  # noqa: S608
