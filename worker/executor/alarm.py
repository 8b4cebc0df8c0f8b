"""Wait until a moment, or until somebody says that it is time."""

from __future__ import annotations

import asyncio

__all__ = ["Alarm"]


class Alarm:
    """For one who waits, on the event loop's thread; costs one timer, and no task."""

    __slots__ = ("_is_due", "_loop", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start with nobody who waits."""
        self._loop = loop
        self._is_due = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Have who waits go on, or not begin to wait."""
        self._is_due = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, limit_s: float) -> None:
        """Wait until it is set, at most for so long; it is not set any more then."""
        if not self._is_due:
            self._waiter = self._loop.create_future()
            timer = self._loop.call_later(limit_s, self.set)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        self._is_due = False
