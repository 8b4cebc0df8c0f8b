"""The rules of runs: pure decisions, the same for every database.

A run is a *placeholder* (neither started nor stopped), *live* (started, not stopped) or *stopped*.
A task has at most one live run. Its **current run** is the live one if there is one, else the most
recent one by `createdAt`; the task's status, result and progress are the current run's, and a task
without runs is pending. So:

- A claim (a started run) needs a task that is pending and a job that is active. It closes all
  placeholders of the task.
- A placeholder may come while a run is live: whoever requeues posts it first and stops the run
  afterwards, so that nobody sees the job failed in between. The task stays running until then and
  cannot be claimed; when the live run stops, the placeholder is the most recent run, and the task
  is pending again.
- Starting a placeholder is a claim too. It must be the most recent run of its task, else the
  task would show a younger, closed one once it has stopped.
- A run that comes already stopped is taken if nothing is live; it closes placeholders as a claim.
- A closed job (``cancelled``, ``canceled``, ``stopped``) has no pending tasks: whatever would
  become pending in it is stopped in the same transaction with `error` ``cancelled: …``. Live runs
  are left to their agents.
- A job in any other state than ``active`` gets no new live run, and its tasks are not listed as
  pending.
- A stopped run without `resultCode`, or with another one than ``Success``, counts as a failure.
- A stopped task counts as progress 1 in its job, a running one as its progress, a pending one 0.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Struct

from server.store.commands import RunFields
from server.store.refusal import Reason, Refused
from server.times import instant_of
from worker.api import wire
from worker.api.wire import RunStatus

__all__ = [
    "ACTIVE",
    "CLOSED",
    "MILLION",
    "JobTotals",
    "RunState",
    "TaskState",
    "check_claim",
    "check_nothing_live",
    "current_run",
    "is_closed",
    "is_finished",
    "is_same_claim",
    "job_status",
    "task_state",
    "wait_of",
]

ACTIVE: Final = "active"
WAIT_MOST_S: Final = 86_400.0  # of a task that failed; agents know the same bound
CLOSED: Final = frozenset({"cancelled", "canceled", "stopped"})
MILLION: Final = 1_000_000


class RunState(Struct, frozen=True, kw_only=True):
    """What the rules look at in a run."""

    id: str
    created_at: int
    started_at: int | None
    stopped_at: int | None
    result_code: str | None
    progress: int | None

    @property
    def status(self) -> RunStatus:
        """Return pending (a placeholder), running (live) or stopped."""
        if self.stopped_at is not None:
            return RunStatus.STOPPED
        return RunStatus.PENDING if self.started_at is None else RunStatus.RUNNING


class TaskState(Struct, frozen=True, kw_only=True):
    """What a task shows of its current run."""

    current_run_id: str | None = None
    status: str = RunStatus.PENDING.value
    result: str | None = None
    progress: int | None = None

    @property
    def weight(self) -> int:
        """Return the millionths that the task adds to its job's progress."""
        if self.status == RunStatus.STOPPED:
            return MILLION
        return self.progress or 0 if self.status == RunStatus.RUNNING else 0


class JobTotals(Struct, frozen=True):
    """How many tasks of a job are in which status."""

    pending: int
    running: int
    stopped: int


def is_closed(scheduler_state: str) -> bool:
    """Tell whether nothing of the job shall run any more."""
    return scheduler_state in CLOSED


def is_finished(totals: JobTotals, scheduler_state: str) -> bool:
    """Tell whether all of a job has been done; one without tasks may be filled yet, unless it is closed."""
    return not (totals.pending or totals.running) and (totals.stopped > 0 or is_closed(scheduler_state))


def current_run(live: RunState | None, latest: RunState | None) -> RunState | None:
    """Return the run that the task shows."""
    return live or latest


def task_state(current: RunState | None) -> TaskState:
    """Return what a task shows of that run."""
    if current is None:
        return TaskState()
    return TaskState(
        current_run_id=current.id,
        status=str(current.status),
        result=current.result_code,
        progress=current.progress,
    )


def job_status(totals: JobTotals) -> RunStatus:
    """Return pending until a task has started, stopped once all have stopped, else running."""
    if not totals.running and not totals.stopped:
        return RunStatus.PENDING
    return RunStatus.RUNNING if totals.pending or totals.running else RunStatus.STOPPED


def check_claim(
    task_id: str, job_id: str, scheduler_state: str, live: RunState | None, latest: RunState | None
) -> None:
    """Let a run of the task start, or say why not.

    Raises:
        Refused: ``job_not_active`` or ``task_not_pending``.
    """
    check_nothing_live(task_id, live)
    if scheduler_state != ACTIVE:
        raise Refused(
            Reason.CONFLICT,
            "job_not_active",
            f"Task {task_id} cannot be started: its job {job_id} is {scheduler_state}, not active",
        )
    if latest is not None and latest.status is not RunStatus.PENDING:
        raise _not_pending(task_id, latest, "its most recent run")


def check_nothing_live(task_id: str, live: RunState | None) -> None:
    """Let a run be added unless one is live.

    Raises:
        Refused: ``task_not_pending``.
    """
    if live is not None:
        raise _not_pending(task_id, live, "its run")


def _not_pending(task_id: str, run: RunState, which: str) -> Refused:
    since = run.started_at if run.status is RunStatus.RUNNING else run.stopped_at
    return Refused(
        Reason.CONFLICT,
        "task_not_pending",
        f"Task {task_id} is not pending: {which} {run.id} is {run.status} since {instant_of(since)}",
    )


def is_same_claim(fields: RunFields, *, started_at: int | None, pod_id: str | None) -> bool:
    """Tell whether a POST names the identity that a stored run has (`podId` and `startedAt`)."""
    given = (fields.started_at, fields.pod_id)
    return tuple(None if value is UNSET else value for value in given) == (started_at, pod_id)


def wait_of(placeholder: RunFields) -> float:
    """Return how many seconds a requeued task is not to be tried: `results.retry.afterS`; 0 where none."""
    if placeholder.results is UNSET:
        return 0.0
    retry = wire.as_mapping(wire.as_mapping(msgspec.json.decode(placeholder.results)).get("retry"))
    return min(max(wire.as_float(retry.get("afterS")) or 0.0, 0.0), WAIT_MOST_S)
