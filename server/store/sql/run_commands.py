"""Commands on runs: claims, placeholders, reports."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET

from server.store.changes import TaskDeferred
from server.store.commands import Briefly, CreateRun, RunFields, UpdateRun
from server.store.records import BriefAnswer, RunAnswer
from server.store.refusal import Reason, Refused
from server.store.rules import RunState, check_claim, check_nothing_live, is_same_claim, wait_of
from server.store.sql.dialect import Row
from server.store.sql.reaping import is_late_result, make_room
from server.store.sql.reported import columns_of, reported, reported_briefly, write_report
from server.store.sql.rows import brief_answer, one_run, run_answer
from server.store.sql.task_state import close_placeholders, find_task, latest_run, live_run, settle
from server.store.sql.transaction import Transaction
from server.store.sql.usage_samples import add_sample, tells_usage
from server.times import instant_of
from worker.api.wire import ErrorKind, ResultCode, RunStatus, format_error

__all__ = ["create_run", "update_run", "write_briefly"]

IS_THERE: Final = "SELECT 1 AS yes FROM runs WHERE org_id = ? AND id = ?"


NOTHING_TOLD: Final[dict[str, Any]] = {
    name: None for name in RunFields.__struct_fields__ if name != "results"
}


def create_run(tx: Transaction, command: CreateRun) -> RunAnswer:
    """Add a run to a task, or answer with the one that an earlier try made."""
    return run_answer({**NOTHING_TOLD, **_created(tx, command)})


def update_run(tx: Transaction, command: UpdateRun) -> RunAnswer:
    """Take a report on a run that is not stopped, or the repetition of its last one."""
    return run_answer(_updated(tx, command, reported(tx.dialect)))


def write_briefly(tx: Transaction, command: Briefly) -> BriefAnswer:
    """Do either, reading of the run what the rules look at alone."""
    write = command.write
    if isinstance(write, CreateRun):
        return brief_answer(_created(tx, write))
    return brief_answer(_updated(tx, write, reported_briefly(tx.dialect)))


def _created(tx: Transaction, command: CreateRun) -> dict[str, Any]:
    """Return the run as `select_run` would, without what was not told of a new one."""
    task = find_task(tx, command.org_id, command.task_id)  # first: from here on its runs stay as they are
    if command.id and (existing := _find(tx, command.org_id, command.id)):
        return _repeated(command, existing)
    if task is None:
        raise _invalid(f"taskId: no task {command.task_id}")
    if command.job_id not in (None, task["job_id"]):
        raise _invalid(f"jobId: task {command.task_id} is of another job than {command.job_id}")
    run_id = command.id or tx.new_id()
    created_at = _make_room(tx, task, command.fields, run_id)
    written = _insert(tx, command, run_id, task, created_at)
    run = _run_state(written)
    if run.status is RunStatus.PENDING:
        wait_s = wait_of(command.fields)
        tx.changes.append(TaskDeferred(command.org_id, command.task_id, task["type"], wait_s))
    settle(tx, task, run if run.status is RunStatus.RUNNING else live_run(tx, task), run)
    return written


def _repeated(command: CreateRun, existing: Row) -> dict[str, Any]:
    same = is_same_claim(command.fields, started_at=existing["started_at"], pod_id=existing["pod_id"])
    if same and existing["task_id"] == command.task_id:
        return dict(existing)
    raise Refused(
        Reason.CONFLICT,
        "run_conflict",
        f"A run {command.id} exists already, of task {existing['task_id']},"
        f" podId {existing['pod_id']}, startedAt {instant_of(existing['started_at'])}",
    )


def _make_room(tx: Transaction, task: Row, fields: RunFields, run_id: str) -> int:
    """Check the rules for a new run, close placeholders if it takes them, return its `createdAt`.

    `createdAt` grows strictly within a task, whatever the clock does, so the order of runs is sure.
    """
    key = (task["org_id"], task["task_id"])
    latest = latest_run(tx, task)
    if fields.stopped_at is not UNSET:
        check_nothing_live(task["task_id"], live_run(tx, task))
    elif fields.started_at is not UNSET:
        check_claim(task["task_id"], task["job_id"], task["scheduler_state"], live_run(tx, task), latest)
    if latest is None:
        return tx.now_ms
    if fields.stopped_at is not UNSET or fields.started_at is not UNSET:
        close_placeholders(tx, *key, _continued_as(run_id))
    return max(tx.now_ms, latest.created_at + 1)


def _insert(tx: Transaction, command: CreateRun, run_id: str, task: Row, created_at: int) -> dict[str, Any]:
    row = {
        "report_progress": True,
        **columns_of(command.fields),
        "org_id": command.org_id,
        "id": run_id,
        "task_id": command.task_id,
        "job_id": task["job_id"],
        "created_by": command.created_by,
        "created_at": created_at,
        "updated_at": created_at,
        "usage_samples": int(tells_usage(command.fields)),
        "lease_until": _lease_until(tx, command) if _is_live(command.fields) else None,
    }
    machine = row.get("machine")
    if machine is not None:
        row["machine"] = tx.keep_machine(command.org_id, task["job_id"], machine)
    results = None if command.fields.results is UNSET else command.fields.results
    if results is not None:
        row |= tx.place_results(results)
    tx.insert("runs", **row)
    if results is not None:
        tx.keep_results(command.org_id, run_id, results)
    if row["usage_samples"]:
        add_sample(tx, command.org_id, run_id, command.fields)
    shown = {"results": results, "machine_told": machine, "scheduler_state": task["scheduler_state"]}
    return row | shown


def _updated(tx: Transaction, command: UpdateRun, statement: str) -> dict[str, Any]:
    """Return the run as the statement read it, with what was told; it reads what `reported_briefly` does."""
    tx.lock_task_of(command.org_id, command.id)
    run = tx.one(statement, command.org_id, command.id)
    if run is None:
        raise Refused(Reason.NOT_FOUND, "run_not_found", f"Run not found: {command.id}")
    _check_identity(command, run)
    if is_late_result(command, run) and make_room(tx, run, is_success=_is_success(command)):
        return _take_late_result(tx, command, run)
    if run["stopped_at"] is not None:
        _check_repetition(command.fields, run)
        return dict(run)
    told = columns_of(command.fields)
    if run["started_at"] is None:
        _check_start(tx, run, command)
        told |= _identity(command)
    told |= _lease(tx, command)
    written = write_report(tx, command, run, told)
    state = _run_state(written)
    # Where the youngest run is not this one, `settle` looks for it.
    settle(tx, run, _live_now(tx, run, state), state if run["is_latest"] else None)
    return written


def _take_late_result(tx: Transaction, command: UpdateRun, run: Row) -> dict[str, Any]:
    """Let a run that was stopped for its silence end as its agent says; nobody else has started the task."""
    written = write_report(
        tx, command, run, {"error": None} | columns_of(command.fields) | {"lease_until": None}
    )
    settle(tx, run, None)
    return written


def _is_success(command: UpdateRun) -> bool:
    return command.fields.result_code == ResultCode.SUCCESS


def _lease(tx: Transaction, command: UpdateRun) -> dict[str, Any]:
    """Return how the lease changes: it ends with the run, and is granted anew to who knows leases."""
    if command.fields.stopped_at is not UNSET:
        return {"lease_until": None}
    lease_until = _lease_until(tx, command)
    return {} if lease_until is None else {"lease_until": lease_until}


def _lease_until(tx: Transaction, command: CreateRun | UpdateRun) -> int | None:
    return None if command.lease_ms is None else tx.now_ms + command.lease_ms


def _is_live(fields: RunFields) -> bool:
    return fields.started_at is not UNSET and fields.stopped_at is UNSET


def _check_identity(command: UpdateRun, run: Row) -> None:
    """Refuse a report on a started run by somebody else than who claimed it."""
    if run["started_at"] is None:
        return
    known = (None, UNSET, run["pod_id"])
    if command.agent not in known or command.fields.pod_id not in known:
        raise _not_yours(f"Run {run['id']} is that of podId {run['pod_id']}")
    if command.fields.started_at not in (UNSET, run["started_at"]):
        raise _not_yours(f"Run {run['id']} was started at {instant_of(run['started_at'])}, by another claim")


def _check_repetition(fields: RunFields, run: Row) -> None:
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


def _check_start(tx: Transaction, task: Row, command: UpdateRun) -> None:
    """Let a report start a placeholder only as a claim would, and close the others."""
    if command.fields.started_at is UNSET or command.fields.stopped_at is not UNSET:
        return
    key = (task["org_id"], task["task_id"])
    latest = latest_run(tx, task)
    check_claim(task["task_id"], task["job_id"], task["scheduler_state"], live_run(tx, task), latest)
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


def _find(tx: Transaction, org_id: str, run_id: str) -> Row | None:
    # As a rule there is none, and its key tells that without the names of forty columns.
    if tx.one(IS_THERE, org_id, run_id) is None:
        return None
    return tx.one(one_run(tx.dialect), org_id, run_id)


def _run_state(row: Row) -> RunState:
    return RunState(
        id=row["id"],
        created_at=row["created_at"],
        started_at=row.get("started_at"),
        stopped_at=row.get("stopped_at"),
        result_code=row.get("result_code"),
        progress=row.get("progress"),
    )


def _live_now(tx: Transaction, task: Row, written: RunState) -> RunState | None:
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
