"""What runs took, and when: the queries and records behind the reports and the timeline."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

from worker.api.wire import ErrorKind

__all__ = [
    "KINDS_OF",
    "LONGEST_NAME",
    "Ending",
    "Span",
    "SpanQuery",
    "Spans",
    "Usage",
    "UsageQuery",
    "UsageRow",
    "Waiting",
    "is_own_fault",
]


LONGEST_NAME: Final = 300  # characters of a title, a type, an agent; more than Kubernetes and an id make


class Ending(StrEnum):
    """How a run stands, in the words of reports."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # its own fault, or its handler's
    CANCELLED = "cancelled"  # somebody wanted that
    PREEMPTED = "preempted"  # its machine was taken away
    DRAINED = "drained"  # its agent was told to stop
    LOST = "lost"  # its agent fell silent, or another run of the task had won


KINDS_OF: Final = {  # of errors, by which it is told; any other is its own fault
    Ending.PREEMPTED: (ErrorKind.PREEMPTED,),
    Ending.DRAINED: (ErrorKind.DRAINED,),
    Ending.LOST: (ErrorKind.WORKER_LOST, ErrorKind.LOST_CLAIM),
    Ending.CANCELLED: (ErrorKind.CANCELLED,),
}


def is_own_fault(error: str) -> bool:
    """Tell whether a run that ended with such an error failed by its own fault, or its handler's."""
    kind = error.partition(":")[0]
    return not any(kind in kinds for kinds in KINDS_OF.values())


class UsageQuery(Struct, frozen=True, kw_only=True):
    """Started runs of an organisation, the newest ones first."""

    org_id: str
    job_id: str | None = None
    since: int = 0  # milliseconds since 1970: runs that were made then or later
    most: int = 500_000  # older ones are left out


class UsageRow(Struct, frozen=True, kw_only=True):
    """What runs of one kind took, all together. What nobody told of them is None.

    A figure is known of all runs of a row or of none: those with and those without are two rows.
    """

    task_type: str
    machine: str | None  # `podId` up to the first slash
    machine_type: str | None
    gpu_type: str | None
    zone: str | None
    preemptible: bool | None
    ending: Ending
    runs: int
    wall_s: float | None
    cpu_s: float | None
    gpu_s: float | None  # allocated
    ram_byte_s: float | None  # the peak over the whole time, so at most


class Usage(Struct, frozen=True):
    """What runs took."""

    rows: list[UsageRow]
    looked_at: int  # runs; also those of deleted jobs, of which there are no rows


class SpanQuery(Struct, frozen=True, kw_only=True):
    """Runs of an organisation that were made since then, or ran at some time since then."""

    org_id: str
    since: int  # milliseconds since 1970
    made_since: int  # runs made earlier are seen while they live only
    most: int = 20_000  # of the newest runs are looked at


class Span(Struct, frozen=True, kw_only=True):
    """From when to when a run was under way; times are milliseconds since 1970."""

    id: str
    task_id: str
    task_type: str
    title: str | None  # of its task
    pod_id: str | None
    made_at: int  # by the server's clock
    heard_at: int  # when its agent last told of it, by the server's clock
    wanted_at: int  # when its task was made, or the run of it before this ended
    started_at: int  # by its agent's clock
    stopped_at: int | None
    progress: float | None  # 0…1
    ending: Ending

    @property
    def took_s(self) -> float | None:
        """How long it took; None while it runs, or where its agent's clock was set back meanwhile."""
        if self.stopped_at is None or self.stopped_at < self.started_at:
            return None
        return (self.stopped_at - self.started_at) / 1000


class Spans(Struct, frozen=True):
    """Spans, in the order in which they were made, the newest first."""

    spans: list[Span]
    looked_at: int  # of the runs that are told up to a most; from those on there may be more


class Waiting(Struct, frozen=True, kw_only=True):
    """How many tasks of a type an organisation has that may be claimed, and when the oldest was made."""

    task_type: str
    tasks: int
    oldest_at: int  # milliseconds since 1970
