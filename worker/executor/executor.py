"""The executor as the agent sees it: one assignment in, events on the way, one outcome out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from msgspec import Struct

from worker.api.wire import ErrorKind
from worker.executor.assignment import Assignment
from worker.executor.lease import Lease
from worker.executor.outcome import Outcome
from worker.usage.usage import Usage

__all__ = [
    "CheckpointEvent",
    "Event",
    "EventSink",
    "Executor",
    "LogEvent",
    "ProgressEvent",
    "StartedEvent",
    "StopRequest",
    "UsageEvent",
]

NEARER_S: Final = 0.05  # a deadline that is nearer by less is the same one


class StartedEvent(Struct, frozen=True):
    """The handler is loaded, and its run begins; sent only where an author looks on."""

    pid: int


class ProgressEvent(Struct, frozen=True):
    """The handler told how far it is."""

    ratio: float  # 0…1
    message: str | None = None


class LogEvent(Struct, frozen=True):
    """One line that the handler logged or printed, already redacted and bounded."""

    stream: str  # "log", "stdout" or "stderr"
    line: str
    level: str = "info"


class UsageEvent(Struct, frozen=True):
    """What the run consumed so far; sent about once a second."""

    usage: Usage


class CheckpointEvent(Struct, frozen=True):
    """The handler saved a token, already redacted and bounded; the newest, one a second at most."""

    value: Any
    size_bytes: int = 0  # as JSON


Event = StartedEvent | ProgressEvent | LogEvent | UsageEvent | CheckpointEvent
EventSink = Callable[[Event], None]


class StopRequest:
    """Ask a run to stop, and tell why; the first reason stays, a nearer deadline replaces a later one.

    Created by the attempt, watched by the executor. Must be used on the event loop, whose time it goes by:
    what happens between the request and its being seen is not added to the deadline.
    """

    def __init__(self) -> None:
        """Start without a request."""
        self.kind: ErrorKind | None = None  # cancelled, drained, preempted, lost_claim, timeout …
        self.message = ""
        self._until: float | None = None  # by the loop's time
        self._changed = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self._followers: list[Callable[[], None]] = []

    @property
    def is_requested(self) -> bool:
        """Tell whether somebody asked."""
        return self.kind is not None

    @property
    def grace_s(self) -> float | None:
        """How long the handler may go on, from now; None while nobody asked."""
        return None if self._until is None else max(0.0, self._until - asyncio.get_running_loop().time())

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` at the first request."""
        self._listeners.append(listener)

    def follow(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` at each request that changes something, now if one did; return what ends that."""
        self._followers.append(listener)
        if self.is_requested:
            listener()
        return lambda: self._followers.remove(listener)

    def request(self, kind: ErrorKind, message: str, grace_s: float) -> None:
        """Ask the run to stop within `grace_s` seconds; 0 kills it at once."""
        is_first = self.kind is None
        if is_first:
            self.kind, self.message = kind, message
        until = asyncio.get_running_loop().time() + grace_s
        if self._until is None or until < self._until - NEARER_S:
            self._until = until
            self._changed.set()
            for follower in list(self._followers):
                follower()
        if is_first:
            for listener in self._listeners:
                listener()

    async def changed(self) -> None:
        """Wait for a first request, or for one with a nearer deadline than was seen here before."""
        await self._changed.wait()
        self._changed.clear()


class Executor(Protocol):
    """Run assignments in child processes.

    Guarantee: when `execute` returns or raises, no process of the run's tree is left.
    """

    async def execute(
        self, assignment: Assignment, stop: StopRequest, on_event: EventSink, lease: Lease | None = None
    ) -> Outcome:
        """Run one assignment to its end; every failure is an outcome, never an exception.

        While the lease is (nearly) over the run stands still, its whole tree; an answer that renews it
        lets it go on.

        A complete outcome of the handler that was received before the tree was killed wins over
        a stop that was asked for later. Cancelling the call kills the tree, then raises.
        """
        ...

    async def aclose(self) -> None:
        """End every child."""
        ...
