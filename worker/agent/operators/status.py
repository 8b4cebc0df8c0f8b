"""What the agent says of itself to operators and programs: the document of `GET /status`.

Nothing in it is a secret, and no parameter of a task stands in it. A field is added, never repurposed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct

__all__ = [
    "HOLDERS",
    "PARTS",
    "DrainStatus",
    "GpuStatus",
    "Hold",
    "JournalStatus",
    "RunStatus",
    "ServerStatus",
    "SlotStatus",
    "Status",
]

# What may be stuck, by the beginning of its name: `reports of RUN` are of the reports.
PARTS: Final = ("minder", "reports", "states of jobs", "tasks")
# Who holds claims. What the agent does itself, and the watches beside it.
HOLDERS: Final = (
    "disk",
    "drain",
    "journal",
    "memory",
    "memory pressure",
    "operator",
    "outbox",
    "preemption",
    "recovery",
    "server",
    "slots",
    "spool",
    "types",
)


class SlotStatus(Struct, frozen=True, kw_only=True):
    """How many runs may go on at once; a claim that is under way takes a slot as well."""

    total: int
    busy: int
    free: int


class RunStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """A run that goes on here."""

    run_id: str
    task_id: str
    type: str
    since: datetime  # when it was claimed
    progress: float  # 0…1, as its handler told it last
    gpus: tuple[str, ...]


class Hold(Struct, frozen=True):
    """One reason why nothing is claimed."""

    by: str  # one of `HOLDERS`
    reason: str


class DrainStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """How the agent ends."""

    kind: str  # drained or preempted
    message: str
    deadline: datetime
    left_s: float


class GpuStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """One GPU."""

    uuid: str
    name: str
    condition: str
    reason: str | None  # why it is given to no run; None where it is fit
    quarantine_left_s: float | None
    runs: tuple[str, ...]  # that have it, by their ids
    free: int  # to how many more runs it could be given, were it fit


class JournalStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """What is open of runs on this machine's disk."""

    entries: int
    undelivered: int  # outcomes that the server does not have yet
    lag_s: float | None  # since the oldest of them, of those that are on their way; None where there is none
    for_a_person: int  # about which the agent does nothing more; see `millhand journal`
    is_healthy: bool  # the last write held


class ServerStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """What was heard of the server. None: never yet."""

    poll_age_s: float | None
    report_age_s: float | None
    heartbeat_age_s: float | None  # the longest that a run goes on without an answer about it; None: no run
    polls_failed: int  # in a row


class Status(Struct, frozen=True, kw_only=True, rename="camel"):
    """How the agent stands at one moment."""

    agent_id: str
    pod_id: str
    version: str
    started: datetime
    now: datetime
    is_ready: bool
    is_claiming: bool
    holds: tuple[Hold, ...]  # every reason why it is not claiming
    drain: DrainStatus | None
    slots: SlotStatus
    runs: tuple[RunStatus, ...]
    storing: int  # runs that have ended and whose files are not stored yet
    gpus: tuple[GpuStatus, ...] | None  # None: which there are is unknown
    gpus_unknown: str | None  # why
    journal: JournalStatus
    server: ServerStatus
    not_ending: int = 0  # trees of processes that were killed more than ten seconds ago, and are still there
    stuck: tuple[str, ...] = ()  # loops of the agent that do not come round; its watchdog hears nothing then
