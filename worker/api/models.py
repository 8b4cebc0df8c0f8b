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
TASK_TEXTS: Final = ("id", "jobId", "type", "title", "orgId", "runStatus")


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
    """One unit of work of a type; what an agent does not need of each is read where it is asked for."""

    id: str
    job_id: str | None
    type: str | None
    title: str | None
    org_id: str | None
    run_status: str | None
    parameters: dict[str, Any]
    raw: dict[str, Any]

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Self | None:
        """Read a task; None where the object has no id."""
        id_, job_id, type_, title, org_id, run_status = wire.as_texts(raw, TASK_TEXTS)
        if id_ is None:
            return None
        return cls(
            id=id_,
            job_id=job_id,
            type=type_,
            title=title,
            org_id=org_id,
            run_status=run_status,
            parameters=wire.as_mapping(raw.get("parameters")),
            raw=raw,
        )

    @property
    def priority(self) -> int | None:
        """Among others; higher comes first."""
        return wire.as_int(self.raw.get("priority"))

    @property
    def run_result(self) -> str | None:
        """`resultCode` of its most recent run."""
        return wire.as_text(self.raw.get("runResult"))

    @property
    def run_progress(self) -> float | None:
        """Of its most recent run."""
        return wire.as_float(self.raw.get("runProgress"))

    @property
    def created_at(self) -> datetime | None:
        """By the server's clock."""
        return wire.parse_instant(self.raw.get("createdAt"))


class Run(Struct, frozen=True, kw_only=True):
    """One execution of a task: a placeholder (pending), running, or stopped (final).

    Of the answer to a claim or a report an agent needs a field or two: each is read where it is asked for.
    """

    id: str
    raw: dict[str, Any]
    lease_s: float | None = None  # how long it may stay silent; None where the server gives no lease
    scheduler_state: str | None = None  # of its job, where the server tells it with the run

    @classmethod
    def read(cls, raw: dict[str, Any], headers: Mapping[str, str] | None = None) -> Self | None:
        """Read a run, and what the answer's headers tell of it; None where the object has no id."""
        if (id_ := wire.as_text(raw.get("id"))) is None:
            return None
        headers = headers or {}
        return cls(
            id=id_,
            raw=raw,
            lease_s=wire.as_float(headers.get(LEASE)),
            scheduler_state=wire.as_text(headers.get(SCHEDULER_STATE)),
        )

    @property
    def task_id(self) -> str | None:
        """Whose execution it is."""
        return wire.as_text(self.raw.get("taskId"))

    @property
    def job_id(self) -> str | None:
        """Of its task."""
        return wire.as_text(self.raw.get("jobId"))

    @property
    def pod_id(self) -> str | None:
        """Who executes it."""
        return wire.as_text(self.raw.get("podId"))

    @property
    def created_at(self) -> datetime | None:
        """By the server's clock."""
        return wire.parse_instant(self.raw.get("createdAt"))

    @property
    def started_at(self) -> datetime | None:
        """By its agent's clock; None for a placeholder, and where it cannot be read."""
        return wire.parse_instant(self.raw.get("startedAt"))

    @property
    def stopped_at(self) -> datetime | None:
        """By its agent's clock; None while it goes on, and where it cannot be read."""
        return wire.parse_instant(self.raw.get("stoppedAt"))

    @property
    def result_code(self) -> str | None:
        """How it ended: `ResultCode`, or another word of another server."""
        return wire.as_text(self.raw.get("resultCode"))

    @property
    def error(self) -> str | None:
        """Why it failed: ``kind: message``."""
        return wire.as_text(self.raw.get("error"))

    @property
    def progress(self) -> float | None:
        """From 0 to 1."""
        return wire.as_float(self.raw.get("progress"))

    @property
    def results(self) -> dict[str, Any]:
        """What it gave; empty where it gave nothing."""
        return wire.as_mapping(self.raw.get("results"))

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
        error = self.error
        return error.partition(":")[0].strip() if error else None


def most_recent(runs: Sequence[Run]) -> Run | None:
    """Return the most recent run of a task: by `createdAt`, then `id`; None where there is none."""
    return max(runs, key=recency, default=None)


def recency(run: Run) -> tuple[float, str]:
    """Return the sort key of runs: oldest first; a run whose `createdAt` is unknown is oldest."""
    created_at = run.created_at
    return (created_at.timestamp() if created_at else float("-inf"), run.id)
