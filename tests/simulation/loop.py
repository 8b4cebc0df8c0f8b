"""An event loop with virtual time: waits take none, and an hour passes in a moment.

Only for code that does all its waiting on the loop: no threads, no sockets.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualSelector(selectors.SelectSelector):
    """Instead of waiting, let the time pass; nothing ever comes from outside."""

    def __init__(self) -> None:
        """Start at zero."""
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Advance by the time-out; without one nothing would ever happen again."""
        if timeout is None:
            raise RuntimeError("every task waits for something that no timer brings")
        if timeout > 0.0:
            self.now_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that lives in virtual time."""

    def __init__(self) -> None:
        """Start at zero."""
        self.virtual = VirtualSelector()
        super().__init__(self.virtual)

    def time(self) -> float:
        """Return the virtual seconds since the start."""
        return self.virtual.now_s


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
