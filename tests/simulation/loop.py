"""An event loop with virtual time: waits take none, and an hour passes in a moment.

Only for code that does all its waiting on the loop: no threads, no sockets. It is written for
speed: a history consists of thousands of steps of this loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from datetime import UTC, datetime, timedelta
from heapq import heapify, heappop, heappush
from typing import Any, TypeVar

T = TypeVar("T")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SWEPT_MIN = 128  # cancelled timers, before they are looked for


class Step:
    """A callback that is due, or will be; what asyncio.Handle and TimerHandle are elsewhere."""

    __slots__ = ("_at_s", "_loop", "args", "call", "context")

    def __init__(
        self, loop: VirtualLoop, at_s: float, call: Callable[..., object], args: Any, context: Context | None
    ) -> None:
        """Keep what is to be called."""
        self._loop = loop
        self._at_s = at_s
        self.call: Callable[..., object] | None = call
        self.args = args
        self.context = copy_context() if context is None else context

    def cancel(self) -> None:
        """Have it never called."""
        if self.call is not None:
            self.call, self.args = None, ()
            self._loop.cancelled += 1

    def cancelled(self) -> bool:
        """Tell whether it will not be called."""
        return self.call is None

    def when(self) -> float:
        """Return the time at which it is due."""
        return self._at_s


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop that lives in virtual time. Timers of one moment go off in the order of their making.

    Its steps have what asyncio uses of a handle, and are none.
    """

    def __init__(self) -> None:
        """Start at zero."""
        super().__init__()
        self.now_s = 0.0
        self.cancelled = 0
        self._due: deque[Step] = deque()
        self._timers: list[tuple[float, int, Step]] = []
        self._made = 0

    def time(self) -> float:
        """Return the virtual seconds since the start."""
        return self.now_s

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        """Call it in the next round."""
        step = Step(self, self.now_s, callback, args, context)
        self._due.append(step)
        return step

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        """Call it in so many seconds."""
        return self.call_at(self.now_s + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        """Call it at a time."""
        step = Step(self, when, callback, args, context)
        self._made += 1
        heappush(self._timers, (when, self._made, step))
        return step

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        """Call it in the next round: from a signal's handler, since there are no threads."""
        return self.call_soon(callback, *args, context=context)

    def _run_once(self) -> None:
        """Make one round: all that is due; where nothing is, let the time pass until something is."""
        due, timers = self._due, self._timers
        if not due and not self._stopping:  # type: ignore[attr-defined]  # of the base
            self._pass(timers)
        now_s = self.now_s
        while timers and timers[0][0] <= now_s:
            due.append(heappop(timers)[2])
        for _ in range(len(due)):
            step = due.popleft()
            call = step.call
            if call is not None:
                try:
                    step.context.run(call, *step.args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as exc:  # noqa: BLE001 - as asyncio's own loop does
                    self.call_exception_handler({"message": f"exception in {call!r}", "exception": exc})

    def _pass(self, timers: list[tuple[float, int, Step]]) -> None:
        if self.cancelled > SWEPT_MIN and 2 * self.cancelled > len(timers):
            timers[:] = [timer for timer in timers if timer[2].call is not None]
            heapify(timers)
            self.cancelled = 0
        while timers and timers[0][2].call is None:
            heappop(timers)
        if not timers:
            raise RuntimeError("every task waits for something that no timer brings")
        self.now_s = max(self.now_s, timers[0][0])


class VirtualClock:
    """The clocks of one machine in the world of the running virtual loop."""

    def __init__(self, *, ahead_s: float = 0.0, booted_s: float = 0.0, rate: float = 1.0) -> None:
        """Tell a time of day that is ahead, and seconds since a boot that pass faster or slower."""
        self.ahead_s = ahead_s  # may be set meanwhile: the time of day jumps
        self._booted_s = booted_s
        self._rate = rate

    def sleep(self, for_s: float) -> None:
        """Have the machine wake up from a sleep of so long: its monotonic clock has counted it."""
        self._booted_s += for_s

    def now(self) -> datetime:
        """Return the time of day."""
        return EPOCH + timedelta(seconds=asyncio.get_running_loop().time() + self.ahead_s)

    def mono(self) -> float:
        """Return the seconds since the machine's boot."""
        return self._booted_s + asyncio.get_running_loop().time() * self._rate


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
