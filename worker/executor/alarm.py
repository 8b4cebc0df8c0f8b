"""Wait until a moment, or until somebody says that it is time."""

from __future__ import annotations

import asyncio

__all__ = ["Alarm"]


class Alarm:
    """For one who waits, again and again, on the event loop's thread; costs no task, and mostly no timer.

    The timer of a wait that was over early is left for the next one, which it may end before its time: who
    waits looks at the clock.
    """

    __slots__ = ("_is_due", "_loop", "_timer", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start with nobody who waits."""
        self._loop = loop
        self._is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Have who waits go on, or not begin to wait."""
        self._is_due = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def clear(self) -> None:
        """Forget that it was set: for somebody else, who waits next."""
        self._is_due = False

    async def wait(self, limit_s: float) -> None:
        """Wait until it is set, at most for so long; it is not set any more then."""
        if not self._is_due:
            self._waiter = self._loop.create_future()
            self._ring_by(self._loop.time() + limit_s)
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._is_due = False

    def close(self) -> None:
        """Leave no timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring_by(self, at_s: float) -> None:
        if self._timer is None or self._timer.when() > at_s:
            self.close()
            self._timer = self._loop.call_at(at_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._waiter is not None:
            self.set()
