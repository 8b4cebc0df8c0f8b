"""Commands on tasks."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from server.store.commands import CreateTask, UpdateTask
from server.store.records import TaskAnswer
from server.store.refusal import Reason, Refused
from server.store.rules import ACTIVE, TaskState, is_closed
from server.store.sql.dialect import Row
from server.store.sql.rows import TASK, task_answer
from server.store.sql.task_state import find_task, settle
from server.store.sql.transaction import Transaction

__all__ = ["create_task", "update_task"]


JOB: Final = (
    "SELECT type, priority, scheduler_state FROM jobs WHERE org_id = ? AND id = ? AND deleted_at IS NULL"
)


def create_task(tx: Transaction, command: CreateTask) -> TaskAnswer:
    """Make a pending task; in a closed job it stops at once."""
    job = tx.one(f"{JOB} {tx.dialect.lock_job}", command.org_id, command.job_id)
    if job is None:
        raise _invalid(f"jobId: no job {command.job_id}")
    task_id, type_ = command.id or tx.new_id(), command.type or job["type"]
    if type_ is None:
        raise _invalid("type: missing, and the job has none either")
    if tx.one("SELECT 1 FROM tasks WHERE org_id = ? AND id = ?", command.org_id, task_id):
        raise Refused(Reason.CONFLICT, "task_exists", f"A task {task_id} exists already")
    _insert(tx, command, task_id, type_, job)
    return _answer(tx, command.org_id, task_id)


def _insert(tx: Transaction, command: CreateTask, task_id: str, type_: str, job: Row) -> None:
    state = job["scheduler_state"]
    tx.insert(
        "tasks",
        org_id=command.org_id,
        id=task_id,
        job_id=command.job_id,
        created_by=command.created_by,
        title=command.title,
        type=type_,
        own_priority=command.priority,
        priority=job["priority"] if command.priority is None else command.priority,
        parameters=command.parameters,
        extra=_merged(None, command.extra),
        report_progress=command.report_progress,
        created_at=tx.now_ms,
        updated_at=tx.now_ms,
        run_status="pending",
        job_is_active=state == ACTIVE,
    )
    tx.count(command.org_id, command.job_id, None, TaskState())
    tx.tell(command.org_id, task_id, type_, was=False, claimable=state == ACTIVE)
    if is_closed(state) and (task := find_task(tx, command.org_id, task_id)):
        settle(tx, task, None)


def update_task(tx: Transaction, command: UpdateTask) -> TaskAnswer:
    """Change a task's own fields; its runs are not touched."""
    task = find_task(tx, command.org_id, command.id)  # locked: `extra` is merged into what it was
    row = tx.one("SELECT extra FROM tasks WHERE org_id = ? AND id = ?", command.org_id, command.id)
    if task is None or row is None:
        raise Refused(Reason.NOT_FOUND, "task_not_found", f"Task not found: {command.id}")
    changed: dict[str, Any] = {}
    if command.priority is not UNSET:
        changed |= {"own_priority": command.priority, "priority": command.priority}
    for name in ("title", "parameters"):
        if (value := getattr(command, name)) is not UNSET:
            changed[name] = value
    if command.extra:
        changed["extra"] = _merged(row["extra"], command.extra)
    changed["updated_at"] = tx.now_ms if command.updated_at is UNSET else command.updated_at
    tx.update("tasks", command.org_id, command.id, **changed)
    tx.count(command.org_id, task["job_id"], TaskState(), TaskState())  # nothing moves, but its job changed
    return _answer(tx, command.org_id, command.id)


def _merged(old: str | None, new: dict[str, str]) -> str | None:
    if not new:
        return old
    fields = msgspec.json.decode(old, type=dict[str, Raw]) if old else {}
    fields |= {name: Raw(value) for name, value in new.items()}
    return msgspec.json.encode(fields).decode()


def _answer(tx: Transaction, org_id: str, task_id: str) -> TaskAnswer:
    row = tx.one(f"{TASK} WHERE org_id = ? AND id = ?", org_id, task_id)
    assert row is not None
    return task_answer(row)


def _invalid(message: str) -> Refused:
    return Refused(Reason.INVALID, "create_task_error", message)
