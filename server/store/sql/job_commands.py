"""Commands on jobs."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from server.store.commands import CreateJob, UpdateJob
from server.store.records import JobRecord
from server.store.refusal import Reason, Refused
from server.store.sql.following import Wanted, begin_to_follow
from server.store.sql.rows import job_record
from server.store.sql.transaction import Transaction

__all__ = ["create_job", "update_job"]


def create_job(tx: Transaction, command: CreateJob) -> JobRecord:
    """Make a job without tasks."""
    job_id = command.id or tx.new_id()
    if tx.one("SELECT 1 FROM jobs WHERE org_id = ? AND id = ?", command.org_id, job_id):
        raise Refused(Reason.CONFLICT, "job_exists", f"A job {job_id} exists already")
    tx.insert(
        "jobs",
        org_id=command.org_id,
        id=job_id,
        created_by=command.created_by,
        title=command.title,
        type=command.type,
        scheduler_state=command.scheduler_state,
        priority=command.priority,
        parameters=command.parameters,
        created_at=tx.now_ms,
        updated_at=tx.now_ms,
        **tx.dialect.new_job,
    )
    return _answer(tx, command.org_id, job_id)


def update_job(tx: Transaction, command: UpdateJob) -> JobRecord:
    """Change a job, and its tasks as far as they follow it."""
    org_id, job_id = command.org_id, command.id
    before = tx.one(f"{STATE} {tx.dialect.change_job}", org_id, job_id)
    if before is None:
        raise Refused(Reason.NOT_FOUND, "job_not_found", f"Job not found: {job_id}")
    changed = {name: value for name in CHANGEABLE if (value := getattr(command, name)) is not UNSET}
    tx.update("jobs", org_id, job_id, **changed, updated_at=tx.now_ms)
    state, priority = (changed.get(name, before[name]) for name in ("scheduler_state", "priority"))
    if (state, priority) != (before["scheduler_state"], before["priority"]):
        begin_to_follow(
            tx,
            Wanted(org_id, job_id, state, priority),
            is_whole=priority != before["priority"],
            before=before["lagging_since"],
        )
    return _answer(tx, org_id, job_id)


STATE: Final = """
SELECT scheduler_state, priority, lagging_since FROM jobs
WHERE org_id = ? AND id = ? AND deleted_at IS NULL"""
CHANGEABLE: Final = ("title", "scheduler_state", "priority", "parameters")


def _answer(tx: Transaction, org_id: str, job_id: str) -> JobRecord:
    tx.counters.write()  # what earlier commands of the group changed is part of the answer
    row = tx.one(tx.dialect.job, org_id, job_id)
    assert row is not None
    return job_record(row)
