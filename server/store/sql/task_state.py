"""Keep a task in line with its runs: its current run, its job's counters, who waits for it."""

from __future__ import annotations

from typing import Final

from server.store.rules import ACTIVE, RunState, TaskState, current_run, is_closed, task_state
from server.store.sql.dialect import Row
from server.store.sql.transaction import Transaction
from worker.api.wire import ErrorKind, ResultCode, RunStatus, format_error

__all__ = ["SERVER", "cancelled_error", "close_placeholders", "find_task", "latest_run", "live_run", "settle"]

FIND: Final = """
SELECT t.id AS task_id, t.org_id, t.job_id, t.type, t.current_run_id, t.run_status, t.run_result,
       t.run_progress, t.job_is_active, j.scheduler_state
FROM tasks t JOIN jobs j ON j.org_id = t.org_id AND j.id = t.job_id
WHERE t.org_id = ? AND t.id = ? AND j.deleted_at IS NULL """


def find_task(tx: Transaction, org_id: str, task_id: str) -> Row | None:
    """Return what the rules look at in a task, with its job's state; both stay so."""
    return tx.one(FIND + tx.dialect.lock_task, org_id, task_id)


def settle(tx: Transaction, task: Row, live: RunState | None, latest: RunState | None = None) -> None:
    """After a write to a task's runs: derive what it shows, count it, tell waiters.

    Args:
        tx: the transaction of the write.
        task: the task as `find_task` returned it before the write.
        live: the task's live run after the write.
        latest: its most recent one after the write, where that is known.
    """
    state = _derive(tx, task, live, latest)
    if state.status == RunStatus.PENDING and is_closed(task["scheduler_state"]):
        _cancel(tx, task)
        state = _derive(tx, task, None, None)
    _store(tx, task, state)


def live_run(tx: Transaction, task: Row) -> RunState | None:
    """Return the task's started and not stopped run; its current run is that, if it is running."""
    return tx.live_run(task["org_id"], task["task_id"]) if task["run_status"] == RunStatus.RUNNING else None


def latest_run(tx: Transaction, task: Row) -> RunState | None:
    """Return the task's most recent run by `createdAt`."""
    return tx.latest_run(task["org_id"], task["task_id"]) if task["current_run_id"] is not None else None


def _derive(tx: Transaction, task: Row, live: RunState | None, latest: RunState | None) -> TaskState:
    if live is None and latest is None:
        latest = tx.latest_run(task["org_id"], task["task_id"])
    return task_state(current_run(live, latest))


def _store(tx: Transaction, task: Row, state: TaskState) -> None:
    before = TaskState(
        current_run_id=task["current_run_id"],
        status=task["run_status"],
        result=task["run_result"],
        progress=task["run_progress"],
    )
    is_active = task["scheduler_state"] == ACTIVE
    shown = {
        "current_run_id": state.current_run_id,
        "run_status": state.status,
        "run_result": state.result,
        "run_progress": state.progress,
        "job_is_active": is_active,
    }
    changed = {name: value for name, value in shown.items() if value != task[name]}
    tx.update("tasks", task["org_id"], task["task_id"], **changed, updated_at=tx.now_ms)
    tx.count(task["org_id"], task["job_id"], before, state)
    was = before.status == RunStatus.PENDING and bool(task["job_is_active"])
    claimable = state.status == RunStatus.PENDING and is_active
    tx.tell(task["org_id"], task["task_id"], task["type"], was=was, claimable=claimable)


def close_placeholders(tx: Transaction, org_id: str, task_id: str, error: str, *, but: str = "") -> None:
    """Stop every placeholder of a task, except one."""
    tx.execute(
        "UPDATE runs SET stopped_at = ?, updated_at = ?, result_code = ?, error = ?"
        " WHERE org_id = ? AND task_id = ? AND started_at IS NULL AND stopped_at IS NULL AND id <> ?",
        (tx.now_ms, tx.now_ms, ResultCode.FAILED, error, org_id, task_id, but),
    )


def _cancel(tx: Transaction, task: Row) -> None:
    """Stop a pending task of a closed job: its placeholders, or else by a run that never started."""
    error = cancelled_error(task["job_id"], task["scheduler_state"])
    if task_has_runs := tx.latest_run(task["org_id"], task["task_id"]) is not None:
        close_placeholders(tx, task["org_id"], task["task_id"], error)
    if not task_has_runs:
        tx.insert(
            "runs",
            org_id=task["org_id"],
            id=tx.new_id(),
            task_id=task["task_id"],
            job_id=task["job_id"],
            created_by=SERVER,
            created_at=tx.now_ms,
            updated_at=tx.now_ms,
            stopped_at=tx.now_ms,
            result_code=ResultCode.FAILED,
            error=error,
            report_progress=True,
        )


SERVER: Final = "server"  # createdBy of runs that the server makes


def cancelled_error(job_id: str, scheduler_state: str) -> str:
    """Return the `error` of a run that stops a task because of its job."""
    return format_error(ErrorKind.CANCELLED, f"job {job_id} was set to {scheduler_state}")
