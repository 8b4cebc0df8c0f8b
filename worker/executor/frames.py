"""What agent and child say to each other, frame by frame.

Down (agent → child): `Load` once, then `Assign` and, while it runs, `Stop`.
Up (child → agent): `Ready` or `NotLoaded` once; then for each assignment any number of `Told…`
and one `Ended`, the receipt without which no run is a success.
"""

from __future__ import annotations

from typing import Final

from msgspec import Raw, Struct, field

from worker.executor.assignment import Assignment
from worker.executor.limits import Limits
from worker.sdk.cache_grant import CacheGrant

__all__ = [
    "EXIT_CHANNEL_LOST",
    "Assign",
    "Down",
    "Ended",
    "Load",
    "NotLoaded",
    "Ready",
    "Stop",
    "TearDownFailed",
    "ToldArtifact",
    "ToldCheckpoint",
    "ToldLog",
    "ToldProgress",
    "ToldSecret",
    "ToldUsage",
    "Up",
]


EXIT_CHANNEL_LOST: Final = 74  # of a child (EX_IOERR): its channel is not there any more, the agent is


class Load(Struct, frozen=True, tag_field="frame", tag="load"):
    """Import the handler of a type; the first frame."""

    type: str
    target: str  # "module:attribute"; or a module or "/path/file.py", where it is found by its type
    parent_pid: int  # who must live; the child ends with it
    gpus: tuple[str, ...] = ()  # UUIDs of the GPUs that its runs may use
    inputs: CacheGrant | None = None  # where its runs may keep inputs
    secrets: dict[str, str] = field(default_factory=dict)  # by name, for its setup


class Assign(Struct, frozen=True, tag_field="frame", tag="assign"):
    """Run this, in that folder."""

    assignment: Assignment
    workdir: str
    wished: Limits = Limits()  # what the task says of its limits
    most: Limits = Limits()  # what the agent allows any run
    secrets: dict[str, str] = field(default_factory=dict)  # by name: those that the handler asks for


class Stop(Struct, frozen=True, tag_field="frame", tag="stop"):
    """Tell the handler to stop."""

    run_id: str
    kind: str
    message: str
    grace_s: float
    is_urgent: bool  # an async handler is cancelled at once; else when the grace is nearly over


class Ready(Struct, frozen=True, tag_field="frame", tag="ready"):
    """The handler is imported, and its `setup` is done."""

    limits: Limits  # that the handler sets itself
    isolation: str
    sources: dict[str, int] = field(default_factory=dict)  # its files: when each was changed (mtime, ns)
    has_teardown: bool = False
    processes: tuple[int, ...] = ()  # that `setup` started, by pid: a part of the child as long as they live


class NotLoaded(Struct, frozen=True, tag_field="frame", tag="not_loaded"):
    """The handler could not be imported, or its `setup` failed; the child ends."""

    message: str
    traceback: str | None = None


class ToldProgress(Struct, frozen=True, tag_field="frame", tag="progress"):
    """The handler told how far it is."""

    ratio: float
    message: str | None = None


class ToldLog(Struct, frozen=True, tag_field="frame", tag="log"):
    """The handler logged a line."""

    message: str
    level: str


class ToldSecret(Struct, frozen=True, tag_field="frame", tag="secret"):
    """A text that must not be shown; told before the handler has it."""

    value: str


class ToldArtifact(Struct, frozen=True, tag_field="frame", tag="artifact"):
    """The handler handed over a file."""

    path: str
    name: str
    content_type: str | None


class ToldCheckpoint(Struct, frozen=True, tag_field="frame", tag="checkpoint"):
    """The handler saved a token."""

    value: Raw


class ToldUsage(Struct, frozen=True, tag_field="frame", tag="usage"):
    """What the run has consumed so far outside of its process tree; see `Context.usage`."""

    method: str
    cpu_user_s: float | None = None
    cpu_system_s: float | None = None
    ram_bytes: int | None = None
    ram_peak_bytes: int | None = None
    pid: int | None = None
    reason: str | None = None
    is_last: bool = False


class Ended(Struct, frozen=True, tag_field="frame", tag="ended"):
    """The receipt: how the handler ended, complete.

    `how`: "returned", "fail", "retry", "invalid_parameters", "out_of_memory" (elsewhere, as in a
    container), "raised" (its own exception), "not_a_result" (what it returned cannot be sent).
    """

    run_id: str
    how: str
    value: Raw = Raw(b"{}")
    message: str = ""
    traceback: str | None = None
    retry_after_s: float | None = None
    types: tuple[str, ...] = ()  # of what it raised: its class and those that is derived from, with modules
    is_stop_seen: bool = False  # the handler was asked to stop before it ended
    unclean: str | None = None  # why this child must not serve again


class TearDownFailed(Struct, frozen=True, tag_field="frame", tag="teardown_failed"):
    """The handler's `teardown` raised; the child ends."""

    message: str
    traceback: str | None = None


Down = Load | Assign | Stop
Told = ToldProgress | ToldLog | ToldSecret | ToldArtifact | ToldCheckpoint
Up = Ready | NotLoaded | Told | ToldUsage | Ended | TearDownFailed
Frame = Down | Up
