"""Make a handler on the main thread stop: SIGTERM cancels its task, or raises `Cancelled`, once a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

from worker.sdk.errors import Cancelled
from worker.sdk.stop_signal import StopSignal

__all__ = ["Interrupt"]


class Interrupt:
    """What SIGTERM does in a child.

    It counts only for a run that was asked to stop over the channel: init systems send SIGTERM to
    every process of a service, and a run shall then end as its agent drains, not before.
    """

    def __init__(self) -> None:
        self._stop: StopSignal | None = None  # of the run whose handler is on the main thread
        self._cancel: Callable[[], None] | None = None
        self._held = 0
        self._is_due = False

    def install(self) -> None:
        """Take over SIGTERM; on the main thread."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def arm(self, stop: StopSignal) -> None:
        """Let a signal end the handler that starts now."""
        self._held, self._is_due, self._cancel = 0, False, None
        self._stop = stop

    def cancel_first(self, cancel: Callable[[], None]) -> None:
        """Let the first signal cancel an async handler; one that blocks its loop gets a second."""
        self._cancel = cancel

    def disarm(self) -> None:
        """Let no signal interrupt any more."""
        self._stop = None

    def hold(self) -> None:
        """Put an interrupt off, on the main thread."""
        if threading.current_thread() is threading.main_thread():
            self._held += 1

    def release(self) -> None:
        """Raise what was put off."""
        if threading.current_thread() is threading.main_thread():
            self._held -= 1
            if self._is_due and not self._held:
                self._raise()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._stop is None or self._stop.kind is None:
            return
        cancel, self._cancel = self._cancel, None
        if cancel is not None:
            cancel()
        elif self._held:
            self._is_due = True
        else:
            self._raise()

    def _raise(self) -> None:
        stop, self._stop, self._is_due = self._stop, None, False  # once: its clean-up must come to an end
        if stop is not None:
            raise Cancelled(f"{stop.kind}: {stop.message}")
