"""What the Jobs API tells, read tolerantly: jobs, tasks and runs as the agent uses them.

Unknown fields and unknown enum values survive in `raw`. Numbers may come as strings, `null` and
absent both mean unknown, times are truncated to milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Self

from msgspec import Struct

from worker.api import wire
from worker.api.wire import RunStatus

__all__ = ["Identity", "Job", "Run", "Task", "most_recent", "recency"]


LEASE: Final = wire.LEASE_HEADER.lower()  # as answers' headers are read
SCHEDULER_STATE: Final = wire.SCHEDULER_STATE_HEADER.lower()
TASK_TEXTS: Final = ("id", "jobId", "type", "title", "orgId", "runStatus", "runResult")
RUN_TEXTS: Final = ("id", "taskId", "jobId", "podId", "resultCode", "error")


class Identity(Struct, frozen=True):
    """The pair that names one claim of one agent."""

    pod_id: str
    started_at: datetime

    def owns(self, run: Run) -> bool:
        """Tell whether a run carries this identity (times compared at milliseconds)."""
        return run.pod_id == self.pod_id and run.started_at == self.started_at


class Job(Struct, frozen=True, kw_only=True):
    """A set of tasks.

    `scheduler_state` is what the user wants of it: ``active``, ``paused``, ``stopped``,
    ``cancelled``; other values of other servers are kept as they are.
    """

    id: str
    type: str | None
    title: str | None
    org_id: str | None
    scheduler_state: str | None
    status: str | None
    priority: int | None
    created_at: datetime | None
    updated_at: datetime | None
    task_count: int | None
    task_status_pending: int | None
    task_status_running: int | None
    task_status_stopped: int | None
    task_result_successes: int | None
    task_result_failures: int | None
    task_progress: float | None
    parameters: dict[str, Any]
    raw: dict[str, Any]

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Self | None:
        """Read a job; None where the object has no id."""
        if (id_ := wire.as_text(raw.get("id"))) is None:
            return None
        return cls(
            id=id_,
            type=wire.as_text(raw.get("type")),
            title=wire.as_text(raw.get("title")),
            org_id=wire.as_text(raw.get("orgId")),
            scheduler_state=wire.as_text(raw.get("schedulerState")),
            status=wire.as_text(raw.get("status")),
            priority=wire.as_int(raw.get("priority")),
            created_at=wire.parse_instant(raw.get("createdAt")),
            updated_at=wire.parse_instant(raw.get("updatedAt")),
            task_count=wire.as_int(raw.get("taskCount")),
            task_status_pending=wire.as_int(raw.get("taskStatusPending")),
            task_status_running=wire.as_int(raw.get("taskStatusRunning")),
            task_status_stopped=wire.as_int(raw.get("taskStatusStopped")),
            task_result_successes=wire.as_int(raw.get("taskResultSuccesses")),
            task_result_failures=wire.as_int(raw.get("taskResultFailures")),
            task_progress=wire.as_float(raw.get("taskProgress")),
            parameters=wire.as_mapping(raw.get("parameters")),
            raw=raw,
        )


class Task(Struct, frozen=True, kw_only=True):
    """One unit of work of a type."""

    id: str
    job_id: str | None
    type: str | None
    title: str | None
    org_id: str | None
    priority: int | None
    run_status: str | None
    run_result: str | None
    run_progress: float | None
    created_at: datetime | None
    parameters: dict[str, Any]
    raw: dict[str, Any]

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Self | None:
        """Read a task; None where the object has no id."""
        id_, job_id, type_, title, org_id, run_status, run_result = wire.as_texts(raw, TASK_TEXTS)
        if id_ is None:
            return None
        return cls(
            id=id_,
            job_id=job_id,
            type=type_,
            title=title,
            org_id=org_id,
            priority=wire.as_int(raw.get("priority")),
            run_status=run_status,
            run_result=run_result,
            run_progress=wire.as_float(raw.get("runProgress")),
            created_at=wire.parse_instant(raw.get("createdAt")),
            parameters=wire.as_mapping(raw.get("parameters")),
            raw=raw,
        )


class Run(Struct, frozen=True, kw_only=True):
    """One execution of a task: a placeholder (pending), running, or stopped (final)."""

    id: str
    task_id: str | None
    job_id: str | None
    pod_id: str | None
    created_at: datetime | None
    started_at: datetime | None
    stopped_at: datetime | None
    result_code: str | None
    error: str | None
    progress: float | None
    results: dict[str, Any]
    raw: dict[str, Any]
    lease_s: float | None = None  # how long it may stay silent; None where the server gives no lease
    scheduler_state: str | None = None  # of its job, where the server tells it with the run

    @classmethod
    def read(cls, raw: dict[str, Any], headers: Mapping[str, str] | None = None) -> Self | None:
        """Read a run, and what the answer's headers tell of it; None where the object has no id."""
        headers = headers or {}
        id_, task_id, job_id, pod_id, result_code, error = wire.as_texts(raw, RUN_TEXTS)
        if id_ is None:
            return None
        return cls(
            id=id_,
            task_id=task_id,
            job_id=job_id,
            pod_id=pod_id,
            created_at=wire.parse_instant(raw.get("createdAt")),
            started_at=wire.parse_instant(raw.get("startedAt")),
            stopped_at=wire.parse_instant(raw.get("stoppedAt")),
            result_code=result_code,
            error=error,
            progress=wire.as_float(raw.get("progress")),
            results=wire.as_mapping(raw.get("results")),
            raw=raw,
            lease_s=wire.as_float(headers.get(LEASE)),
            scheduler_state=wire.as_text(headers.get(SCHEDULER_STATE)),
        )

    @property
    def status(self) -> RunStatus:
        """Pending, running or stopped, from `startedAt` and `stoppedAt`.

        A time that cannot be read still counts as set: a run is never taken for free on a guess.
        """
        return wire.run_status(self.raw)

    @property
    def is_placeholder(self) -> bool:
        """Tell whether the run only says that its task is pending again."""
        return self.status is RunStatus.PENDING

    @property
    def is_live(self) -> bool:
        """Tell whether the run is started and not stopped."""
        return self.status is RunStatus.RUNNING

    @property
    def error_kind(self) -> str | None:
        """The word before the colon in `error`."""
        return self.error.partition(":")[0].strip() if self.error else None


def most_recent(runs: Sequence[Run]) -> Run | None:
    """Return the most recent run of a task: by `createdAt`, then `id`; None where there is none."""
    return max(runs, key=recency, default=None)


def recency(run: Run) -> tuple[float, str]:
    """Return the sort key of runs: oldest first; a run whose `createdAt` is unknown is oldest."""
    return (run.created_at.timestamp() if run.created_at else float("-inf"), run.id)
