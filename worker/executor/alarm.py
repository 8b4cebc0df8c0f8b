"""Wait until a moment, or until somebody says that it is time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context

__all__ = ["Alarm"]


class Alarm:
    """For one who waits, again and again, on the event loop's thread; costs no task, and mostly no timer.

    The timer of a wait that was over early is left for the next one, which it may end before its time: who
    waits looks at the clock.
    """

    __slots__ = ("_is_due", "_loop", "_timer", "_wait")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start with nobody who waits."""
        self._loop = loop
        self._is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._wait: Wait | None = None

    def set(self) -> None:
        """Have who waits go on in the loop's next round, or not begin to wait."""
        self._is_due = True
        if self._wait is not None:
            self._wait.end_soon()

    def mark(self) -> None:
        """Have who waits go on with the `ring` that follows, or not begin to wait."""
        self._is_due = True

    def ring(self) -> None:
        """Have who waits go on at once, if there is news; for a callback of the loop, as its last step.

        A round of the loop takes a tenth of what a short run does.
        """
        if self._is_due and self._wait is not None:
            self._wait.end()

    def clear(self) -> None:
        """Forget that it was set: for somebody else, who waits next."""
        self._is_due = False

    async def wait(self, limit_s: float) -> None:
        """Wait until it is set, at most for so long; it is not set any more then."""
        if not self._is_due:
            self._wait = Wait(self._loop)
            self._ring_by(self._loop.time() + limit_s)
            try:
                await self._wait
            finally:
                self._wait = None
        self._is_due = False

    def close(self) -> None:
        """Leave no timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring_by(self, at_s: float) -> None:
        if self._timer is None or self._timer.when() > at_s:
            self.close()
            self._timer = self._loop.call_at(at_s, self._go_off)

    def _go_off(self) -> None:
        self._timer = None
        if self._wait is not None:
            self._is_due = True
            self._wait.end()


class Wait:
    """What one task awaits, once: a future that can have it go on within the step in which it is over.

    The protocol is that of `asyncio.isfuture`: a task takes from us a callback, and later our result. Ended
    once, by whatever comes first: the callback must not be called twice.
    """

    __slots__ = ("_asyncio_future_blocking", "_callback", "_context", "_handle", "_is_cancelled", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asyncio_future_blocking = False
        self._callback: Callable[[Wait], object] | None = None
        self._context: Context | None = None
        self._handle: asyncio.Handle | None = None  # of an end in the next round
        self._is_cancelled = False

    def __await__(self) -> Generator[Wait, None, None]:
        self._asyncio_future_blocking = True
        yield self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop whose task may wait."""
        return self._loop

    def add_done_callback(self, callback: Callable[[Wait], object], *, context: Context) -> None:
        """Take what has the task go on, and the context in which that is called."""
        self._callback, self._context = callback, context

    def result(self) -> None:
        """Return to who waited.

        Raises:
            CancelledError: the task is cancelled.
        """
        if self._is_cancelled:
            raise asyncio.CancelledError

    def cancel(self, msg: object = None) -> bool:
        """Take that the task is cancelled, which goes on for that in the next round."""
        if self._callback is None:
            return False
        self._is_cancelled = True
        self.end_soon()
        return True

    def end_soon(self) -> None:
        """End it in the loop's next round."""
        if self._handle is None and self._callback is not None:
            self._handle = self._loop.call_soon(self.end)

    def end(self) -> None:
        """End it now; in the loop's next round where a task is at work, beside which no other can be."""
        if asyncio.current_task(self._loop) is not None:
            self.end_soon()
            return
        if self._handle is not None:
            self._handle.cancel()
        callback, self._callback = self._callback, None
        if callback is not None and self._context is not None:
            self._context.run(callback, self)
