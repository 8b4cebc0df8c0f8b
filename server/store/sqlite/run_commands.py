"""Commands on runs: claims, placeholders, reports."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import msgspec
from msgspec import UNSET

from server.store.commands import CreateRun, RunFields, UpdateRun
from server.store.records import RunAnswer
from server.store.refusal import Reason, Refused
from server.store.rules import RunState, check_claim, check_nothing_live, is_same_claim
from server.store.sqlite.rows import RUN, run_answer
from server.store.sqlite.task_state import close_placeholders, find_task, latest_run, live_run, settle
from server.store.sqlite.transaction import Transaction
from server.store.sqlite.usage_samples import add_sample
from server.times import instant_of
from worker.api.wire import ErrorKind, RunStatus, format_error

__all__ = ["create_run", "update_run"]


def create_run(tx: Transaction, command: CreateRun) -> RunAnswer:
    """Add a run to a task, or answer with the one that an earlier try made."""
    if command.id and (existing := _find(tx, command.org_id, command.id)):
        return _repeated(command, existing)
    task = find_task(tx, command.org_id, command.task_id)
    if task is None:
        raise _invalid(f"taskId: no task {command.task_id}")
    if command.job_id not in (None, task["job_id"]):
        raise _invalid(f"jobId: task {command.task_id} is of another job than {command.job_id}")
    run_id = command.id or tx.new_id()
    created_at = _make_room(tx, task, command.fields, run_id)
    _insert(tx, command, run_id, task["job_id"], created_at)
    return _settled(tx, task, command.org_id, run_id)


def _repeated(command: CreateRun, existing: sqlite3.Row) -> RunAnswer:
    same = is_same_claim(command.fields, started_at=existing["started_at"], pod_id=existing["pod_id"])
    if same and existing["task_id"] == command.task_id:
        return run_answer(existing)
    raise Refused(
        Reason.CONFLICT,
        "run_conflict",
        f"A run {command.id} exists already, of task {existing['task_id']},"
        f" podId {existing['pod_id']}, startedAt {instant_of(existing['started_at'])}",
    )


def _make_room(tx: Transaction, task: sqlite3.Row, fields: RunFields, run_id: str) -> int:
    """Check the rules for a new run, close placeholders if it takes them, return its `createdAt`.

    `createdAt` grows strictly within a task, whatever the clock does, so the order of runs is sure.
    """
    key = (task["org_id"], task["id"])
    latest = latest_run(tx, task)
    if fields.stopped_at is not UNSET:
        check_nothing_live(task["id"], live_run(tx, task))
    elif fields.started_at is not UNSET:
        check_claim(task["id"], task["job_id"], task["scheduler_state"], live_run(tx, task), latest)
    if latest is None:
        return tx.now_ms
    if fields.stopped_at is not UNSET or fields.started_at is not UNSET:
        close_placeholders(tx, *key, _continued_as(run_id))
    return max(tx.now_ms, latest.created_at + 1)


def _insert(tx: Transaction, command: CreateRun, run_id: str, job_id: str, created_at: int) -> None:
    columns = _columns(command.fields)
    columns.setdefault("report_progress", True)
    tx.insert(
        "runs",
        org_id=command.org_id,
        id=run_id,
        task_id=command.task_id,
        job_id=job_id,
        created_by=command.created_by,
        created_at=created_at,
        updated_at=created_at,
        **columns,
    )
    _store_results(tx, command.org_id, run_id, command.fields)
    add_sample(tx, command.org_id, run_id, command.fields, 0)


def update_run(tx: Transaction, command: UpdateRun) -> RunAnswer:
    """Take a report on a run that is not stopped, or the repetition of its last one."""
    run = _find(tx, command.org_id, command.id)
    if run is None:
        raise Refused(Reason.NOT_FOUND, "run_not_found", f"Run not found: {command.id}")
    _check_identity(command, run)
    if run["stopped_at"] is not None:
        _check_repetition(command.fields, run)
        return run_answer(run)
    task = find_task(tx, command.org_id, run["task_id"])
    assert task is not None
    columns = _columns(command.fields)
    if run["started_at"] is None:
        _check_start(tx, task, command)
        columns |= _identity(command)
    tx.update("runs", command.org_id, command.id, **columns, updated_at=tx.now_ms)
    _store_results(tx, command.org_id, command.id, command.fields)
    add_sample(tx, command.org_id, command.id, command.fields, run["usage_samples"])
    return _settled(tx, task, command.org_id, command.id)


def _check_identity(command: UpdateRun, run: sqlite3.Row) -> None:
    """Refuse a report on a started run by somebody else than who claimed it."""
    if run["started_at"] is None:
        return
    told = (command.agent, command.fields.pod_id)
    if any(pod_id not in (None, UNSET, run["pod_id"]) for pod_id in told):
        raise _not_yours(f"Run {run['id']} is that of podId {run['pod_id']}")
    if command.fields.started_at not in (UNSET, run["started_at"]):
        raise _not_yours(f"Run {run['id']} was started at {instant_of(run['started_at'])}, by another claim")


def _check_repetition(fields: RunFields, run: sqlite3.Row) -> None:
    same = fields.stopped_at == run["stopped_at"] and all(
        value in (UNSET, stored)
        for value, stored in ((fields.result_code, run["result_code"]), (fields.error, run["error"]))
    )
    if not same or not _is_same_json(fields.results, run["results"]):
        raise Refused(
            Reason.CONFLICT,
            "run_stopped",
            f"Run {run['id']} stopped at {instant_of(run['stopped_at'])} and cannot be changed any more",
        )


def _is_same_json(told: Any, stored: str | None) -> bool:
    if told is UNSET or told == stored:
        return True
    return stored is not None and bool(msgspec.json.decode(told) == msgspec.json.decode(stored))


def _check_start(tx: Transaction, task: sqlite3.Row, command: UpdateRun) -> None:
    """Let a report start a placeholder only as a claim would, and close the others."""
    if command.fields.started_at is UNSET or command.fields.stopped_at is not UNSET:
        return
    key = (task["org_id"], task["id"])
    latest = latest_run(tx, task)
    check_claim(task["id"], task["job_id"], task["scheduler_state"], live_run(tx, task), latest)
    if latest is not None and latest.id != command.id:
        raise Refused(
            Reason.CONFLICT,
            "task_not_pending",
            f"Run {command.id} cannot be started: task {task['id']} has the younger run {latest.id}",
        )
    close_placeholders(tx, *key, _continued_as(command.id), but=command.id)


def _identity(command: UpdateRun) -> dict[str, Any]:
    """Return the podId of who starts a placeholder: told in the body, else by the header."""
    fields = command.fields
    if command.agent is None or fields.started_at is UNSET or fields.pod_id is not UNSET:
        return {}
    return {"pod_id": command.agent}


NOT_COLUMNS: Final = frozenset({"results"})


def _columns(fields: RunFields) -> dict[str, Any]:
    names = (name for name in fields.__struct_fields__ if name not in NOT_COLUMNS)
    return {name: value for name in names if (value := getattr(fields, name)) is not UNSET}


def _store_results(tx: Transaction, org_id: str, run_id: str, fields: RunFields) -> None:
    if fields.results is not UNSET:
        tx.db.execute(
            "INSERT INTO results VALUES (?, ?, ?)"
            " ON CONFLICT (org_id, run_id) DO UPDATE SET body = excluded.body",
            (org_id, run_id, fields.results),
        )


def _find(tx: Transaction, org_id: str, run_id: str) -> sqlite3.Row | None:
    return tx.one(f"{RUN} WHERE r.org_id = ? AND r.id = ?", org_id, run_id)


def _settled(tx: Transaction, task: sqlite3.Row, org_id: str, run_id: str) -> RunAnswer:
    """Bring the task in line with a run that was just written, and answer with the run."""
    row = _find(tx, org_id, run_id)
    assert row is not None  # written a moment ago in this transaction
    run = RunState(**{name: row[name] for name in RunState.__struct_fields__})
    settle(tx, task, _live_now(tx, task, run))
    return run_answer(row)


def _live_now(tx: Transaction, task: sqlite3.Row, written: RunState) -> RunState | None:
    if written.status is RunStatus.RUNNING:
        return written
    # A current run that is not live after the write leaves its task without a live one.
    return None if task["current_run_id"] == written.id else live_run(tx, task)


def _continued_as(run_id: str) -> str:
    return format_error(ErrorKind.REQUEUED, f"continued as run {run_id}")


def _invalid(message: str) -> Refused:
    return Refused(Reason.INVALID, "create_run_error", message)


def _not_yours(message: str) -> Refused:
    return Refused(Reason.CONFLICT, "not_your_run", message)
