"""Ctrl-C and SIGTERM: the first asks to finish, the second means now."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Stopping", "stopping_on_signals"]


class Stopping:
    """Whether somebody asked to stop."""

    def __init__(self, on_second: Callable[[], None]) -> None:
        """Keep what a second signal does."""
        self._asked = asyncio.Event()
        self._on_second = on_second
        self.signal: signal.Signals | None = None
        self.is_forced = False

    def ask(self, number: signal.Signals) -> None:
        """Take a signal."""
        if self.signal is None:
            self.signal = number
            self._asked.set()
        else:
            self.is_forced = True
            self._on_second()

    async def asked(self) -> None:
        """Wait until somebody asks."""
        await self._asked.wait()


@contextmanager
def stopping_on_signals(on_second: Callable[[], None]) -> Iterator[Stopping]:
    """Turn SIGINT and SIGTERM into a `Stopping` for the time of the block."""
    loop = asyncio.get_running_loop()
    stopping = Stopping(on_second)
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stopping.ask, number)
    try:
        yield stopping
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
