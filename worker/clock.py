"""The one place where time comes from; passed in, so that tests and simulations set it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final, Protocol

__all__ = ["Clock", "SystemClock"]


BOOT_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


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

    def mono(self) -> float:
        """Return CLOCK_BOOTTIME in seconds (Linux), else the monotonic clock.

        A lease goes on while a machine is suspended; CLOCK_MONOTONIC would stand still then.
        """
        return time.monotonic() if BOOT_CLOCK is None else time.clock_gettime(BOOT_CLOCK)
