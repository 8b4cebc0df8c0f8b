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
    """Instead of waiting, let the time pass."""

    def __init__(self) -> None:
        """Start at zero."""
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Advance by the time-out; without one nothing would ever happen again."""
        if timeout is None:
            raise RuntimeError("every task waits for something that no timer brings")
        self.now_s += max(timeout, 0.0)
        return super().select(0)


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
    """The clock of the running virtual loop."""

    def now(self) -> datetime:
        """Return the virtual time of day."""
        return EPOCH + timedelta(seconds=self.mono())

    def mono(self) -> float:
        """Return the virtual seconds since the start."""
        return asyncio.get_running_loop().time()


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
