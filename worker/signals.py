"""Signals that tell a process to end, from the first moment of its work to the last of its life.

The event loop's own way gives a signal back to the system when the loop is closed, and then it kills: a
second SIGTERM just before the process is gone would turn a clean end into a death. To block it meanwhile
does not help, since the system hands it to any thread that does not.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Signals", "signals_to_the_end"]


class Signals:
    """What is called on the event loop when a signal comes."""

    def __init__(self) -> None:
        """Take none yet; on the event loop, in the main thread."""
        self._loop = asyncio.get_running_loop()
        self._before: dict[signal.Signals, Any] = {}
        self._waking: tuple[socket.socket, socket.socket] | None = None

    def take(self, number: signal.Signals, callback: Callable[[], object]) -> None:
        """Have a callback called at each signal of a kind, from now on to the end."""
        self._wake_loop()

        def taken(_: int, __: FrameType | None) -> None:
            self._loop.call_soon_threadsafe(callback)

        self._before.setdefault(number, signal.signal(number, taken))
        signal.siginterrupt(number, False)

    def ignore(self) -> None:
        """Ignore them from now on, until the process is gone; in one step each, none of them can kill."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)
        self._close()

    def give_back(self) -> None:
        """Leave them to who had them before."""
        for number, before in self._before.items():
            signal.signal(number, before)
        self._close()

    def _close(self) -> None:
        if self._waking is not None:
            signal.set_wakeup_fd(-1)
            self._loop.remove_reader(self._waking[0])
            for end in self._waking:
                end.close()

    def _wake_loop(self) -> None:
        """Have the system wake a loop that sleeps: the signal may come to another thread."""
        if self._waking is not None:
            return
        if (others := signal.set_wakeup_fd(-1)) != -1:  # uvloop's: it sees to that by itself
            signal.set_wakeup_fd(others)
            return
        reading, writing = self._waking = socket.socketpair()
        reading.setblocking(False)
        writing.setblocking(False)
        self._loop.add_reader(reading, lambda: reading.recv(4096))
        signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)


@contextmanager
def signals_to_the_end() -> Iterator[Signals]:
    """Give what takes signals for the time of the block, the last of a process; after it they are ignored.

    Nothing may be started after the block: it would inherit that. Where the block fails, signals are as they
    were before it.
    """
    signals = Signals()
    try:
        yield signals
    except BaseException:
        signals.give_back()
        raise
    signals.ignore()
