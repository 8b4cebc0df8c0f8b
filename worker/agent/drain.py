"""Finish, take no more: one request that every running attempt follows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from worker.api.wire import ErrorKind
from worker.clock import Clock
from worker.executor.executor import StopRequest

__all__ = ["Drain"]

# Of the whole time, what is kept for killing what does not stop, its files, the journal, the last reports:
REPORT_SHARE: Final = 0.2
REPORT_MIN_S: Final = 2.0
REPORT_MAX_S: Final = 10.0
# More where the server is slow: to requeue, three requests follow one another; one may be repeated.
LAST_REQUESTS: Final = 4
KILL_S: Final = 0.5
RESERVE_SHARE: Final = 0.9  # never more: a handler must have a moment to save what it has
NOW_S: Final = 5.0  # what a second request leaves: to kill, to write down, to report once
log = structlog.get_logger()


class Drain:
    """Tell the agent to end: by when, and why."""

    def __init__(self, clock: Clock, timeout_s: float) -> None:
        """`timeout_s` is how long the whole drain may take, where nobody sets a nearer end."""
        self._clock = clock
        self._timeout_s = timeout_s
        self._whole_s = timeout_s  # how long this drain may take
        self._answer_s = 0.0  # how long the server takes for a report, as it was seen lately
        self._stops: list[StopRequest] = []
        self._requested = asyncio.Event()
        self._nearer = asyncio.Event()  # replaced each time that it was set
        self._is_ordered = False  # by a signal: the next one means now
        self.is_hurried = False  # it is to end now
        self.kind = ErrorKind.DRAINED
        self.message = ""
        self.deadline_mono: float | None = None

    @property
    def is_requested(self) -> bool:
        """Tell whether the agent is ending."""
        return self._requested.is_set()

    @property
    def grace_s(self) -> float:
        """How long a handler may go on that is told to stop now; the rest is for the last reports."""
        if self.is_hurried:
            return 0.0
        slow_s = KILL_S + LAST_REQUESTS * self._answer_s
        reserve_s = max(min(max(self._whole_s * REPORT_SHARE, REPORT_MIN_S), REPORT_MAX_S), slow_s)
        return max(0.0, self.left_s() - min(reserve_s, self._whole_s * RESERVE_SHARE))

    def left_s(self) -> float:
        """Return the seconds until everything must be over; never negative."""
        if self.deadline_mono is None:
            return self._timeout_s
        return max(0.0, self.deadline_mono - self._clock.mono())

    def end_in_s(self) -> float | None:
        """Return the seconds until the agent ends; None while it is not to end."""
        return self.left_s() if self.is_requested else None

    def request(self, kind: ErrorKind, message: str, within_s: float | None = None) -> None:
        """Begin to drain, or bring the end nearer; nothing puts it off.

        Args:
            kind: why runs are stopped; that of the first request stays.
            message: the same for people.
            within_s: the machine is taken away then, in seconds. None: a person or a service asks (SIGTERM),
                and gives the time that is configured; who asks a second time means now. The signal that
                follows a notice of the machine's end is a first one: clouds send both.
        """
        is_second = within_s is None and self._is_ordered
        self._is_ordered = self._is_ordered or within_s is None
        limit_s = self._timeout_s if within_s is None else within_s
        if not self.is_requested:
            self.kind, self.message = kind, message
            self._end_within(limit_s)
            self._requested.set()
            log.info("drain.begun", reason=str(kind), message=message, timeout_s=round(limit_s, 1))
        elif is_second:
            log.warning("drain.now", message=message)
            self.is_hurried = True
            self._end_within(min(self.left_s(), NOW_S))
        elif limit_s < self.left_s():
            log.warning("drain.nearer", reason=str(kind), message=message, timeout_s=round(limit_s, 1))
            self._end_within(limit_s)
        self._stop_all()

    def hurry(self, message: str) -> None:
        """End now, whether a drain was asked for before or not."""
        if not self._is_ordered:
            self.request(ErrorKind.DRAINED, message)
        self.request(ErrorKind.DRAINED, message)

    def _end_within(self, limit_s: float) -> None:
        self._whole_s = limit_s
        self.deadline_mono = self._clock.mono() + limit_s
        if self.is_requested:
            self._nearer.set()
            self._nearer = asyncio.Event()

    def answered(self, took_s: float) -> None:
        """Take how long the server took for a report: a slow one needs more of the time for the last ones."""
        self._answer_s = max(took_s, self._answer_s / 2)
        if self.is_requested:
            self._stop_all()

    async def requested(self) -> None:
        """Wait until the agent is to end."""
        await self._requested.wait()

    def nearer(self) -> Coroutine[Any, Any, object]:
        """Wait until the end, known already, is brought nearer, from the call on; perhaps for ever."""
        return self._nearer.wait()

    def follow(self, stop: StopRequest) -> Callable[[], None]:
        """Stop an attempt when the drain begins, or at once if it has; returns what ends that."""
        self._stops.append(stop)
        if self.is_requested:
            stop.request(self.kind, self.message, self.grace_s)
        return lambda: self._stops.remove(stop)

    def _stop_all(self) -> None:
        for stop in self._stops:
            stop.request(self.kind, self.message, self.grace_s)
