"""Bring the tasks of a job in line with its state and its priority, in parts: there may be a million of them.

From the moment a job is changed its state decides: none of its tasks can be claimed where it is not active,
and lists leave them out (`reads.select_tasks`). The first thousand tasks follow in the same transaction, so
a small job is never between two states. The rows of the others follow part after part, between the
commands of others, the oldest first, and after a restart the rest follows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from server.store.changes import JobLags, TasksPending
from server.store.commands import Command
from server.store.rules import ACTIVE, TaskState, is_closed
from server.store.sql.dialect import Dialect, Row
from server.store.sql.task_state import SERVER, cancelled_error
from server.store.sql.transaction import Transaction
from worker.api.wire import ResultCode, RunStatus

__all__ = ["FollowJob", "Wanted", "begin_to_follow", "follow_job"]

AT_ONCE: Final = 1_000  # tasks; some 40 ms, which is how long others wait
FIRST: Final = (-1, "")  # before every task

Place = tuple[int, str]  # createdAt and id of a task


class FollowJob(Command["FollowJob | None"], frozen=True):
    """Bring a part of a job's tasks in line; the answer is the next part, None where nothing is left."""

    org_id: str
    job_id: str
    is_whole: bool = True  # all tasks, for their priority; else only the pending ones, for its state
    since: int | None = None  # the change that is followed; None: whichever is there
    after: Place = FIRST


class Wanted:
    """What the tasks of a job shall show."""

    def __init__(self, org_id: str, job_id: str, scheduler_state: str, priority: int) -> None:
        """Take it from the job as it is now."""
        self.org_id = org_id
        self.job_id = job_id
        self.scheduler_state = scheduler_state
        self.priority = priority

    @property
    def is_active(self) -> bool:
        """Tell whether pending tasks may be claimed."""
        return self.scheduler_state == ACTIVE


def begin_to_follow(tx: Transaction, wanted: Wanted, *, is_whole: bool, before: int | None) -> None:
    """After a change of a job, with its lock held alone: do the first part, and note what is left.

    Args:
        tx: the transaction of the change.
        wanted: what the job says now.
        is_whole: whether its priority changed.
        before: since when its tasks were behind an earlier change, which then is followed with this one.
    """
    is_whole = is_whole or before is not None
    done = _follow_some(tx, wanted, FollowJob(wanted.org_id, wanted.job_id, is_whole))
    if len(done) < AT_ONCE:
        _mark(tx, wanted, None)
        return
    since = max(tx.now_ms, (before or 0) + 1)
    _mark(tx, wanted, since)
    tx.changes.append(JobLags(wanted.org_id, wanted.job_id, is_whole, since))


def follow_job(tx: Transaction, command: FollowJob) -> FollowJob | None:
    """Do a part. Where the job was changed since the walk began, it begins anew."""
    job = tx.one(f"{JOB} {tx.dialect.lock_job}", command.org_id, command.job_id)
    if job is None or (since := job["lagging_since"]) is None:
        return None
    is_same = command.since in (None, since)
    whole = command.is_whole or not is_same
    part = FollowJob(command.org_id, command.job_id, whole, since, command.after if is_same else FIRST)
    wanted = Wanted(command.org_id, command.job_id, job["scheduler_state"], job["priority"])
    rows = _follow_some(tx, wanted, part)
    if not rows:  # fewer than asked for say nothing: others may have changed some of them meanwhile
        _mark(tx, wanted, None)
        return None
    if told := tx.dialect.following(tx.now_ms):
        tx.update("jobs", part.org_id, part.job_id, **told)
    last = rows[-1]
    return FollowJob(part.org_id, part.job_id, whole, since, (last["created_at"], last["id"]))


JOB: Final = """
SELECT scheduler_state, priority, lagging_since FROM jobs
WHERE org_id = ? AND id = ? AND deleted_at IS NULL"""


def _mark(tx: Transaction, wanted: Wanted, since: int | None) -> None:
    hides = tx.dialect.closing(since is not None and not wanted.is_active)
    tx.update("jobs", wanted.org_id, wanted.job_id, lagging_since=since, **hides)


def _follow_some(tx: Transaction, wanted: Wanted, part: FollowJob) -> Sequence[Row]:
    """Bring the next tasks in line, and return them as they were."""
    rows = tx.all(
        f"{ALL if part.is_whole else _pending(tx.dialect)} {tx.dialect.lock_tasks}",
        (part.org_id, part.job_id, *part.after, AT_ONCE),
    )
    pending = [row for row in rows if row["run_status"] == RunStatus.PENDING]
    if part.is_whole:
        behind = [row for row in rows if row["own_priority"] is None and row["priority"] != wanted.priority]
        _set(tx, part.org_id, behind, "priority", wanted.priority)
    if is_closed(wanted.scheduler_state):
        _stop(tx, wanted, pending)
    else:
        behind = [row for row in pending if bool(row["job_is_active"]) is not wanted.is_active]
        _set(tx, part.org_id, behind, "job_is_active", wanted.is_active)
        if wanted.is_active:
            types = Counter(row["type"] for row in behind)
            tx.changes.extend(TasksPending(part.org_id, type_, count) for type_, count in types.items())
    return rows


COLUMNS: Final = "SELECT id, created_at, type, run_status, own_priority, priority, job_is_active FROM tasks"
ALL: Final = f"""
{COLUMNS} WHERE org_id = ? AND job_id = ? AND (created_at, id) > (?, ?) ORDER BY created_at, id LIMIT ?"""


def _pending(dialect: Dialect) -> str:
    return f"""
{COLUMNS} {dialect.of_job("pending")}
WHERE org_id = ? AND job_id = ? AND run_status = 'pending' AND (created_at, id) > (?, ?)
ORDER BY created_at, id LIMIT ?"""


def _set(tx: Transaction, org_id: str, rows: Sequence[Row], column: str, value: object) -> None:
    if rows:
        tx.execute(
            f"UPDATE tasks SET {column} = :value WHERE org_id = :org"  # noqa: S608 - a column of ours
            f" AND id IN {tx.dialect.in_list(':tasks')}",
            {"value": value, "org": org_id, "tasks": tx.dialect.as_list([row["id"] for row in rows])},
        )


def _stop(tx: Transaction, wanted: Wanted, rows: Sequence[Row]) -> None:
    """Stop pending tasks of a closed job: they have no run at all, or the most recent is a placeholder."""
    if not rows:
        return
    values: dict[str, Any] = {
        "org": wanted.org_id,
        "tasks": tx.dialect.as_list([row["id"] for row in rows]),
        "now": tx.now_ms,
        "failed": ResultCode.FAILED,
        "error": cancelled_error(wanted.job_id, wanted.scheduler_state),
        "server": SERVER,
    }
    for statement in _stopping(tx.dialect):
        tx.execute(statement, values)
    stopped = TaskState(status="stopped", result=ResultCode.FAILED)
    tx.counters.move((wanted.org_id, wanted.job_id), TaskState(), stopped, tx.now_ms, tasks=len(rows))


def _stopping(dialect: Dialect) -> tuple[str, ...]:
    """Return the statements that stop tasks which are pending."""
    tasks = dialect.in_list(":tasks")
    return (
        f"""UPDATE runs SET stopped_at = :now, updated_at = :now, result_code = :failed, error = :error
        WHERE org_id = :org AND task_id IN {tasks} AND started_at IS NULL AND stopped_at IS NULL""",  # noqa: S608
        f"""INSERT INTO runs (org_id, id, task_id, job_id, created_by, created_at, updated_at, stopped_at,
                              result_code, error, report_progress)
        SELECT org_id, {dialect.new_id}, id, job_id, :server, :now, :now, :now, :failed, :error, TRUE
        FROM tasks WHERE org_id = :org AND id IN {tasks} AND current_run_id IS NULL""",  # noqa: S608
        f"""UPDATE tasks SET run_status = 'stopped', run_result = :failed, job_is_active = FALSE,
            updated_at = :now,
            current_run_id = (SELECT r.id FROM runs r WHERE r.org_id = :org AND r.task_id = tasks.id
                              ORDER BY r.created_at DESC LIMIT 1)
        WHERE org_id = :org AND id IN {tasks}""",  # noqa: S608
    )
