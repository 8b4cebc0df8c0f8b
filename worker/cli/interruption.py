"""Ctrl-C and SIGTERM while a local run goes on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from worker.api.wire import ErrorKind

if TYPE_CHECKING:
    from worker.cli.terminal import Output
    from worker.executor.executor import StopRequest

__all__ = ["GRACE_S", "Interruption"]

GRACE_S: Final = 10.0  # for the handler once it is asked to stop; a second Ctrl-C ends it now


class Interruption:
    """Ctrl-C and SIGTERM: the first asks the run to stop, a second one ends it now."""

    def __init__(self, out: Output) -> None:
        """Start without a run."""
        self.asked = asyncio.Event()
        self.stop: StopRequest | None = None  # of the run that goes on
        self._out = out

    @contextmanager
    def watched(self) -> Iterator[Interruption]:
        """Take the signals for as long as this lasts."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._take)
        try:
            yield self
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _take(self) -> None:
        is_first = not self.asked.is_set()
        self.asked.set()
        if self.stop is None:
            return
        if is_first:
            self._out.say("asking the handler to stop; once more Ctrl-C ends it now")
        self.stop.request(ErrorKind.CANCELLED, "interrupted", GRACE_S if is_first else 0.0)
