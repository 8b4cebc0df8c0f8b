"""Stop the pending tasks of closed jobs, in parts: a job may have a million of them.

From the moment a job is closed its state decides: none of its tasks can be claimed, and lists leave
them out (`reads.select_tasks`). Their rows follow a thousand at a time, between the commands of
others, and after a restart the rest follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from server.store.commands import Command
from server.store.refusal import StoreBusy, StoreFailed
from server.store.rules import TaskState, is_closed
from server.store.sql.dialect import Dialect
from server.store.sql.task_state import SERVER, cancelled_error
from server.store.sql.transaction import Transaction
from worker.api.wire import ResultCode

__all__ = ["Closing", "StopPending", "mark_closing", "stop_pending"]

STOPPED_AT_ONCE: Final = 1_000  # tasks; some 40 ms, which is how long others wait
AGAIN_AFTER_S: Final = 1.0  # a full queue or a full disk

log = structlog.get_logger(__name__)


class StopPending(Command[bool], frozen=True):
    """Stop some of the pending tasks of a closed job; the answer tells whether there may be more."""

    org_id: str
    job_id: str


def stop_pending(tx: Transaction, command: StopPending) -> bool:
    """Stop the oldest pending tasks of a job, unless it is open again.

    A pending task has no run at all, or its most recent one is a placeholder.
    """
    org_id, job_id = command.org_id, command.job_id
    job = tx.one(f"{STATE} {tx.dialect.lock_job}", org_id, job_id)
    if job is None or not is_closed(job["scheduler_state"]):
        return False
    rows = tx.all(f"{PENDING} {tx.dialect.lock_tasks}", (org_id, job_id, STOPPED_AT_ONCE))
    values: dict[str, Any] = {
        "org": org_id,
        "tasks": tx.dialect.as_list([row["id"] for row in rows]),
        "now": tx.now_ms,
        "failed": ResultCode.FAILED,
        "error": cancelled_error(job_id, job["scheduler_state"]),
        "server": SERVER,
    }
    for statement in _stop(tx.dialect):
        tx.execute(statement, values)
    stopped = TaskState(status="stopped", result=ResultCode.FAILED)
    tx.counters.move((org_id, job_id), TaskState(), stopped, tx.now_ms, tasks=len(rows))
    is_done = len(rows) < STOPPED_AT_ONCE
    if is_done:
        mark_closing(tx, org_id, job_id, False)
    return not is_done


def mark_closing(tx: Transaction, org_id: str, job_id: str, is_closing: bool) -> None:
    """Note for everybody that a job has pending tasks that shall not be listed, or that it has none."""
    if marked := tx.dialect.closing(is_closing):
        tx.update("jobs", org_id, job_id, **marked)


STATE: Final = "SELECT scheduler_state FROM jobs WHERE org_id = ? AND id = ?"
PENDING: Final = """
SELECT id FROM tasks WHERE org_id = ? AND job_id = ? AND run_status = 'pending'
ORDER BY created_at, id LIMIT ?"""


def _stop(dialect: Dialect) -> tuple[str, ...]:
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


class Closing:
    """The jobs whose tasks are being stopped now."""

    def __init__(self, submit: Callable[[StopPending], Awaitable[bool]]) -> None:
        """Give commands to the writer."""
        self._submit = submit
        self._under_way: dict[StopPending, asyncio.Task[None]] = {}

    def jobs_of(self, org_id: str) -> frozenset[str]:
        """Return the jobs of an organisation that may still have pending tasks."""
        return frozenset(part.job_id for part in self._under_way if part.org_id == org_id)

    def begin(self, part: StopPending) -> None:
        """Stop all pending tasks of a job, part after part."""
        if part not in self._under_way:
            self._under_way[part] = asyncio.create_task(self._stop_all(part))

    async def end(self) -> None:
        """Leave the rest to the next start."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _stop_all(self, part: StopPending) -> None:
        try:
            while await self._stop_some(part):
                pass
        except Exception:
            log.exception("job.not_closed", job_id=part.job_id, consequence="its tasks wait for a restart")
        finally:
            del self._under_way[part]

    async def _stop_some(self, part: StopPending) -> bool:
        try:
            return await self._submit(part)
        except (StoreBusy, StoreFailed) as exc:
            log.warning("job.closing_delayed", job_id=part.job_id, reason=str(exc))
            await asyncio.sleep(AGAIN_AFTER_S)
            return True
