"""What was seen of a run's end; `worker.executor.ends` says what it means."""

from __future__ import annotations

import os
import resource
import signal

from msgspec import Struct

from worker.api.wire import ErrorKind
from worker.executor.frames import Ended, NotLoaded

__all__ = ["Evidence", "Exit", "StopReason"]


class Exit(Struct, frozen=True):
    """How a child process ended: with a code, or by a signal."""

    code: int | None
    signal: int | None
    rusage: resource.struct_rusage

    @classmethod
    def read(cls, status: int, rusage: resource.struct_rusage) -> Exit:
        """Read what wait4 returned."""
        code = os.waitstatus_to_exitcode(status)
        return cls(code, None, rusage) if code >= 0 else cls(None, -code, rusage)

    @property
    def signal_name(self) -> str | None:
        """The name of the signal, as ``SIGSEGV``."""
        if self.signal is None:
            return None
        try:
            return signal.Signals(self.signal).name
        except ValueError:  # a real-time signal
            return f"signal {self.signal}"


class StopReason(Struct, frozen=True):
    """Why the executor stopped a run."""

    kind: ErrorKind
    message: str


class Evidence(Struct, frozen=True, kw_only=True):
    """Everything that tells how a run ended."""

    ended: Ended | None = None  # the receipt
    not_loaded: NotLoaded | None = None
    exit: Exit | None = None  # None: the child lives on
    stop: StopReason | None = None  # the first stop that was asked for, or a limit that was hit
    is_killed: bool = False  # by us
    spawn_error: str | None = None
    channel_error: str | None = None
