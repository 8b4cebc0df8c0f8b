"""Time for tests: it passes only when somebody sleeps, or says so."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

__all__ = ["FakeClock"]


class FakeClock:
    """Monotonic seconds that pass only by `sleep` and `advance`."""

    def __init__(self, mono: float = 1000.0) -> None:
        """Start at a time that is no round zero, so that nobody takes it for a duration."""
        self._mono = mono

    def mono(self) -> float:
        """Return the time."""
        return self._mono

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ValueError: it would run backwards.
        """
        if seconds < 0:
            raise ValueError(f"time does not run backwards, by {seconds} s")
        self._mono += seconds

    sleep = advance

    @contextmanager
    def installed(self) -> Iterator[FakeClock]:
        """Make `time.sleep` and `time.monotonic` this clock's, for as long as this lasts.

        Not where they were imported by name (``from time import sleep``), and not in child processes.
        """
        with patch.object(time, "sleep", self.sleep), patch.object(time, "monotonic", self.mono):
            yield self

    def runner(self) -> asyncio.Runner:
        """Return a runner whose loop goes by this clock: `asyncio.sleep` takes no time.

        Where everything waits, time jumps to the next thing that is due, also while a thread or a socket
        works: a time limit for these is reached at once.
        """
        return asyncio.Runner(loop_factory=lambda: ClockLoop(self))


class ClockLoop(asyncio.SelectorEventLoop):
    """An event loop that goes by a clock."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(ClockSelector(clock))
        self._clock = clock

    def time(self) -> float:
        """Return the clock's time."""
        return self._clock.mono()


class ClockSelector(selectors.DefaultSelector):
    """Let the clock jump instead of waiting."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._jump = clock.advance

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
        """Return what is ready; wait in truth only where nothing is due."""
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout is not None and timeout > 0:
            self._jump(timeout)
        return ready
