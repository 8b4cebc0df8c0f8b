"""Records: jobs, tasks, runs and reports as the store answers them and the wire shows them.

Field names in answers are those of the reference. JSON that clients gave (`parameters`, `results`,
`machine`) is spliced in as it was stored, without being decoded.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Raw, Struct

__all__ = [
    "AgentName",
    "AgentRecord",
    "BriefAnswer",
    "Deletion",
    "Depth",
    "Depths",
    "Given",
    "JobAge",
    "JobRecord",
    "Principal",
    "ReportRecord",
    "RunAnswer",
    "RunBrief",
    "RunRecord",
    "SampleRecord",
    "TaskAnswer",
    "TaskRecord",
    "TokenRecord",
]

WIRE_NAMES: Final = {
    "cpu_time": "CPUTime",
    "gpu_time": "GPUTime",
    "ram_usage": "RAMUsage",
    "request_cpus": "requestCPUs",
    "limit_cpus": "limitCPUs",
    "node_cpus": "nodeCPUs",
    "request_ram": "requestRAM",
    "limit_ram": "limitRAM",
    "node_ram": "nodeRAM",
    "instance_id": "instanceID",
}

Number = int | float


def _wire_name(attribute: str) -> str:
    first, *rest = attribute.split("_")
    return WIRE_NAMES.get(attribute) or first + "".join(word.capitalize() for word in rest)


class JobRecord(Struct, frozen=True, kw_only=True, rename="camel"):
    """A set of tasks with its counters, right as of the last write.

    `status` is ``pending`` until a task has started, ``stopped`` once all tasks have stopped,
    else ``running``. `task_progress` is the mean over its tasks; a stopped task counts 1.
    """

    id: str
    created_by: str
    title: str | None
    org_id: str
    scheduler_state: str
    type: str | None
    created_at: str
    updated_at: str
    parameters: Raw
    task_status_pending: int
    task_status_running: int
    task_status_stopped: int
    task_progress: float
    task_result_failures: int
    task_result_successes: int
    task_count: int
    priority: int
    status: str


class TaskRecord(Struct, frozen=True, kw_only=True, rename="camel"):
    """One unit of work; `run_*` are those of its live run, else of its most recent one."""

    id: str
    created_by: str
    title: str | None
    org_id: str
    type: str
    job_id: str
    created_at: str
    updated_at: str
    parameters: Raw
    priority: int  # the task's own, else its job's
    run_status: str
    run_result: str | None
    run_progress: float | None
    report_progress: bool


class RunRecord(Struct, frozen=True, kw_only=True, rename=_wire_name):
    """One execution of a task; None where nobody told."""

    id: str
    task_id: str
    job_id: str
    created_by: str
    created_at: str
    updated_at: str
    started_at: str | None
    stopped_at: str | None
    results: Raw | None
    result_code: str | None
    result_message: str | None
    error: str | None
    progress: float | None
    gpu_time: Number | None  # allocated seconds
    cpu_time: Number | None  # seconds
    machine: Raw | None
    machine_type: str | None
    cpu_platform: str | None
    gpu_type: str | None
    instance_id: str | None
    limit_cpus: Number | None
    request_cpus: Number | None
    node_cpus: Number | None
    limit_ram: Number | None  # bytes
    request_ram: Number | None  # bytes
    node_ram: Number | None  # bytes
    org_id: str
    pod_id: str | None
    preemptible: bool | None
    ram_usage: Number | None  # peak bytes
    report_progress: bool
    wall_clock_time: Number | None  # seconds
    zone: str | None


class RunBrief(Struct, frozen=True, kw_only=True, rename=_wire_name):
    """What tells whose a run is and how it stands: what a write is answered with that asks for little."""

    id: str
    started_at: str | None
    stopped_at: str | None
    pod_id: str | None


class ReportRecord(Struct, frozen=True, kw_only=True, rename="camel"):
    """A started run as the reports show it."""

    created_by: str
    job_title: str | None
    org_id: str
    progress: float | None
    started_at: str | None
    stopped_at: str | None
    title: str | None
    type: str


class SampleRecord(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a report said of a run's usage at one moment; None where it said nothing of that."""

    at: str
    cpu_s: float | None
    ram_bytes: int | None  # the peak so far
    gpu_s: float | None
    wall_s: float | None
    progress: float | None
    gpu_busy_s: float | None
    gpu_bytes: int | None  # the peak of GPU memory so far


class AgentRecord(Struct, frozen=True, kw_only=True, rename="camel"):
    """What an agent said of itself, and when."""

    id: str
    org_id: str
    seen_at: str
    status: Raw
    machine: Raw
    handlers: Raw


class AgentName(Struct, frozen=True):
    """Which agent something was said of."""

    id: str


class Principal(Struct, frozen=True, kw_only=True):
    """Who a token speaks for."""

    token_id: str
    org_id: str
    scopes: frozenset[str]
    name: str | None = None


class TokenRecord(Struct, frozen=True, kw_only=True, rename="camel"):
    """A token as operators see it; times are milliseconds since 1970."""

    id: str
    name: str | None
    org_id: str
    organisation: str
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None  # None: never
    last_used_at: int | None  # to a minute; None: not yet


class Depth(Struct, frozen=True, kw_only=True):
    """How many tasks of a type may be claimed, in all organisations, and when the oldest was created."""

    type: str
    tasks: int
    oldest_at: int  # milliseconds since 1970


class Depths(Struct, frozen=True, kw_only=True):
    """How much there is to do, and how much is being done."""

    pending: tuple[Depth, ...]
    running: int  # tasks with a live run


class JobAge(Struct, frozen=True, kw_only=True):
    """What decides whether a job is kept; times are milliseconds since 1970."""

    org_id: str
    id: str
    created_at: int
    changed_at: int  # when it or one of its tasks was last written
    tasks: int
    is_finished: bool
    is_going: bool  # a part of it was deleted already


class Deletion(StrEnum):
    """What became of a job that was to be deleted."""

    GONE = "gone"
    PARTLY = "partly"
    KEPT = "kept"
    ELSEWHERE = "elsewhere"  # another server deletes just now


class TaskAnswer(Struct, frozen=True):
    """A task and the fields beyond the reference that its creator gave (a JSON object, or None)."""

    task: TaskRecord
    extra: str | None

    def as_json(self) -> bytes:
        """Return the task as the wire shows it, its further fields at the end."""
        shown = ENCODER.encode(self.task)
        if self.extra is None or len(self.extra) <= len("{}"):
            return shown
        return shown[:-1] + b"," + self.extra.encode()[1:]


class RunAnswer(Struct, frozen=True):
    """A run and what its job's user wants of it now."""

    run: RunRecord
    scheduler_state: str
    is_leased: bool = False  # it may be silent for the time of a lease only


class Given(Struct, frozen=True):
    """A task as it was made, and the run that claimed it in the same moment; None where it is pending."""

    task: TaskAnswer
    run: RunAnswer | None


class BriefAnswer(Struct, frozen=True):
    """As `RunAnswer`, for who wants little."""

    run: RunBrief
    scheduler_state: str
    is_leased: bool = False


ENCODER: Final = msgspec.json.Encoder()
