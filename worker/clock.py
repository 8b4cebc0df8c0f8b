"""The one place where time comes from; passed in, so that tests and simulations set it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

__all__ = ["Clock", "SystemClock"]


BOOT_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)
boot_s: Final[Callable[[], float]] = (
    time.monotonic if BOOT_CLOCK is None else partial(time.clock_gettime, BOOT_CLOCK)
)


class Clock(Protocol):
    """Tell the time, of day for the wire and monotonic for durations.

    Waiting is not here: code waits with ``asyncio.sleep`` and ``asyncio.timeout``, which follow
    the event loop's time, and a simulator brings a loop with virtual time.
    """

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        ...

    def mono(self) -> float:
        """Return seconds on a clock that never jumps and counts a machine's sleep."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        return datetime.now(UTC)

    # CLOCK_BOOTTIME in seconds (Linux), else the monotonic clock: a lease goes on while a machine is
    # suspended, and CLOCK_MONOTONIC would stand still then. A task asks thirty times: no function around it.
    mono = staticmethod(boot_s)
