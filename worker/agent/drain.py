"""Finish, take no more: one request that every running attempt follows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from worker.api.wire import ErrorKind
from worker.clock import Clock
from worker.executor.executor import StopRequest

__all__ = ["Drain"]

REPORT_SHARE = 0.2  # of the time that is kept for killing what does not stop, and for the last reports
REPORT_MIN_S = 1.0
REPORT_MAX_S = 10.0
NOW_S = 5.0  # what a second request leaves: to kill, to write down, to report once
log = structlog.get_logger()


class Drain:
    """Tell the agent to end: by when, and why."""

    def __init__(self, clock: Clock, timeout_s: float) -> None:
        """`timeout_s` is how long the whole drain may take."""
        self._clock = clock
        self._timeout_s = timeout_s
        self._stops: list[StopRequest] = []
        self._requested = asyncio.Event()
        self._hurried = asyncio.Event()
        self.kind = ErrorKind.DRAINED
        self.message = ""
        self.deadline_mono: float | None = None

    @property
    def is_requested(self) -> bool:
        """Tell whether the agent is ending."""
        return self._requested.is_set()

    @property
    def grace_s(self) -> float:
        """How long a handler may go on after it is told to stop; the rest is for the last reports."""
        return max(
            0.0, self._timeout_s - min(max(self._timeout_s * REPORT_SHARE, REPORT_MIN_S), REPORT_MAX_S)
        )

    def left_s(self) -> float:
        """Return the seconds until everything must be over; never negative."""
        if self.deadline_mono is None:
            return self._timeout_s
        return max(0.0, self.deadline_mono - self._clock.mono())

    def request(self, kind: ErrorKind, message: str) -> None:
        """Begin to drain; a second request means now."""
        if self.is_requested:
            log.warning("drain.now", message=message)
            self.deadline_mono = self._clock.mono() + min(self.left_s(), NOW_S)
            self._hurried.set()
            for stop in self._stops:
                stop.request(self.kind, self.message, 0.0)
            return
        self.kind, self.message = kind, message
        self.deadline_mono = self._clock.mono() + self._timeout_s
        self._requested.set()
        log.info("drain.begun", reason=str(kind), message=message, timeout_s=self._timeout_s)
        for stop in self._stops:
            stop.request(kind, message, self.grace_s)

    async def requested(self) -> None:
        """Wait until the agent is to end."""
        await self._requested.wait()

    async def hurried(self) -> None:
        """Wait until the agent is to end now; for ever if that is never asked for."""
        await self._hurried.wait()

    def follow(self, stop: StopRequest) -> Callable[[], None]:
        """Stop an attempt when the drain begins, or at once if it has; returns what ends that."""
        self._stops.append(stop)
        if self.is_requested:
            grace_s = 0.0 if self._hurried.is_set() else min(self.grace_s, self.left_s())
            stop.request(self.kind, self.message, grace_s)
        return lambda: self._stops.remove(stop)
