"""Runs whose agents fell silent: stopped and requeued, and their late results taken.

A lease is granted with the claim and with each report, by who says with it that it is an agent that
knows leases. The agent makes sure that nothing of the run goes on when the lease ends, so the task may
be given away. What the agent finished meanwhile is not lost: its terminal report is taken as long as
nobody else has started the task.
"""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from server.store.commands import ReapRuns, UpdateRun
from server.store.rules import is_closed
from server.store.sql.dialect import Row
from server.store.sql.task_state import SERVER, find_task, latest_run, settle
from server.store.sql.transaction import Transaction
from worker.api.ids import requeue_run_id
from worker.api.wire import ErrorKind, ResultCode, RunStatus, format_error

__all__ = ["is_late_result", "make_room", "reap_runs"]

LOST_MOST: Final = 20  # runs of one task that ended so; then a person must look why its agents die
SILENT: Final = """
SELECT org_id, id, task_id, job_id, updated_at FROM runs {live_runs}
WHERE started_at IS NOT NULL AND lease_until IS NOT NULL AND stopped_at IS NULL AND lease_until < ?
ORDER BY lease_until LIMIT ?"""
STILL_SILENT: Final = """
SELECT 1 AS yes FROM runs
WHERE org_id = ? AND id = ? AND lease_until IS NOT NULL AND stopped_at IS NULL AND lease_until < ?"""
CLAMP: Final = """
UPDATE runs {live_runs} SET lease_until = ?
WHERE started_at IS NOT NULL AND lease_until IS NOT NULL AND stopped_at IS NULL AND lease_until > ?"""


def reap_runs(tx: Transaction, command: ReapRuns) -> int:
    """Stop runs whose lease is over, requeue their tasks; return how many there were.

    A lease that ends later than one that was granted now is from before the clock was set back.
    """
    latest_end = tx.now_ms + command.lease_ms
    live_runs = tx.dialect.live_runs()
    tx.execute(CLAMP.format(live_runs=live_runs), (latest_end, latest_end))
    rows = tx.all(SILENT.format(live_runs=live_runs), (tx.now_ms, command.most))
    # In one order, as two who lock tasks in different ones would wait for each other.
    for row in sorted(rows, key=lambda row: (row["org_id"], row["job_id"], row["task_id"])):
        _reap(tx, row)
    return len(rows)


def _reap(tx: Transaction, run: Row) -> None:
    task = find_task(tx, run["org_id"], run["task_id"])
    if task is None or tx.one(STILL_SILENT, run["org_id"], run["id"], tx.now_ms) is None:
        return  # its agent was faster
    silent_s = (tx.now_ms - run["updated_at"]) / 1000
    error = format_error(ErrorKind.WORKER_LOST, f"its agent was silent for {silent_s:.0f} s")
    tx.update(
        "runs",
        run["org_id"],
        run["id"],
        stopped_at=tx.now_ms,
        updated_at=tx.now_ms,
        result_code=ResultCode.FAILED,
        error=error,
    )
    if not is_closed(task["scheduler_state"]) and _lost_before(tx, run) < LOST_MOST:
        _requeue(tx, run, task)
    settle(tx, task, None)


def _lost_before(tx: Transaction, run: Row) -> int:
    row = tx.one(
        "SELECT count(*) AS lost FROM runs WHERE org_id = ? AND task_id = ? AND id <> ? AND error LIKE ?",
        run["org_id"],
        run["task_id"],
        run["id"],
        f"{ErrorKind.WORKER_LOST}%",
    )
    return 0 if row is None else int(row["lost"])


def _requeue(tx: Transaction, run: Row, task: Row) -> None:
    """Post the placeholder that the agent would post, unless it did before it fell silent."""
    run_id = requeue_run_id(run["id"])
    if tx.one("SELECT id FROM runs WHERE org_id = ? AND id = ?", run["org_id"], run_id) is not None:
        return
    latest = latest_run(tx, task)
    created_at = tx.now_ms if latest is None else max(tx.now_ms, latest.created_at + 1)
    tx.insert(
        "runs",
        org_id=run["org_id"],
        id=run_id,
        task_id=run["task_id"],
        job_id=run["job_id"],
        created_by=SERVER,
        created_at=created_at,
        updated_at=created_at,
        report_progress=True,
    )


def is_late_result(command: UpdateRun, run: Row) -> bool:
    """Tell whether this is how a run ended that was stopped for its silence, told by who ran it."""
    fields = command.fields
    return (
        run["stopped_at"] is not None
        and run["lease_until"] is not None
        and command.agent == run["pod_id"]
        and fields.started_at == run["started_at"]
        and fields.stopped_at is not UNSET
    )


def make_room(tx: Transaction, run: Row, *, is_success: bool) -> bool:
    """Tell whether a late report may be taken; a success takes the requeue of its run back.

    It is too late where somebody has started the task since, or it was requeued for another reason. A
    failure is told, and leaves the task pending: what its agent would have done, the server did.
    """
    placeholder_id = requeue_run_id(run["id"])
    latest = tx.latest_run(run["org_id"], run["task_id"])
    if latest is None or latest.id == run["id"]:
        return True
    if latest.id != placeholder_id or latest.status is not RunStatus.PENDING:
        return False
    if is_success:
        tx.forget_results(run["org_id"], [placeholder_id])
        for table, key in (("usage_samples", "run_id"), ("runs", "id")):  # a client may have told of it
            tx.execute(
                f"DELETE FROM {table} WHERE org_id = ? AND {key} = ?",  # noqa: S608 - names are ours
                (run["org_id"], placeholder_id),
            )
    return True
