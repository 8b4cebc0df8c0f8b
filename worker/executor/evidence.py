"""What was seen of a run's end; `worker.executor.ends` says what it means."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, convert

from worker.api.wire import ErrorKind
from worker.executor.frames import Ended, NotLoaded
from worker.usage.rusage import Rusage

__all__ = ["Evidence", "Exit", "Overrun", "StopReason"]


class Exit(Struct, frozen=True, kw_only=True):
    """How a child process ended: with a code, or by a signal; neither where nobody was left to see it."""

    code: int | None
    signal: int | None
    rusage: Rusage | None = None
    oom_kills: int | None = None  # processes of its control group that the kernel killed for want of memory
    group_peak_bytes: int | None = None  # the most memory that the group had, page cache included
    group_cpu_s: tuple[float, float] | None = None  # what all in the group used, and in the kernel alone
    is_minder_lost: bool = False

    @classmethod
    def told(cls, told: Mapping[str, Any]) -> Exit:
        """Read what the minder tells of an end; see `worker.minder.wire`."""
        cpu_s = None if told["cpu_s"] is None else (told["cpu_s"][0], told["cpu_s"][1])
        rusage = Rusage(*told["rusage"])
        return cls.read(told["status"], rusage, told["oom_kills"], told["peak_bytes"], cpu_s)

    @classmethod
    def read(
        cls,
        status: int,
        rusage: Rusage,
        oom_kills: int | None = None,
        group_peak_bytes: int | None = None,
        group_cpu_s: tuple[float, float] | None = None,
    ) -> Exit:
        """Read what wait4 returned, with what the child's control group counted."""
        code = os.waitstatus_to_exitcode(status)
        is_signal = code < 0
        return cls(
            code=None if is_signal else code,
            signal=-code if is_signal else None,
            rusage=rusage,
            oom_kills=oom_kills,
            group_peak_bytes=group_peak_bytes,
            group_cpu_s=group_cpu_s,
        )

    @property
    def signal_name(self) -> str | None:
        """The name of the signal, as ``SIGSEGV``."""
        if self.signal is None:
            return None
        try:
            return signal.Signals(self.signal).name
        except ValueError:  # a real-time signal
            return f"signal {self.signal}"


class Overrun(Struct, frozen=True, kw_only=True):
    """A limit that the minder found passed, for which it kills the tree."""

    why: str  # "deadline", "memory" (of the run), "pool" (of the container), "kernel" (it killed in the run)
    limit_bytes: int | None = None
    used_bytes: int | None = None
    pid: int | None = None  # who held most
    pid_bytes: int | None = None
    name: str | None = None

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Overrun:
        """Read what the minder told."""
        return convert(dict(told), cls)


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
    overrun: Overrun | None = None
    pool_oom_kills: int | None = None  # in the agent's whole container, while the run went on
    memory_bytes: int | None = None  # the run's limit
