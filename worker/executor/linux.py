"""What only Linux has: whether it is here, and attributes of a process that Python has no call for."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["become_subreaper", "die_with_parent", "flush_c_streams", "unfit_reason"]

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
NAMES: Final = {"darwin": "macOS", "win32": "Windows"}


def unfit_reason(proc: Path = Path("/proc/self/stat")) -> str | None:
    """Say why handlers cannot run on this system as an agent runs them; None where they can."""
    if sys.platform != "linux":
        return f"handlers run on Linux, and this is {NAMES.get(sys.platform, sys.platform)}"
    if not hasattr(os, "pidfd_open"):
        return f"handlers need pidfd_open, and {sys.executable} was built without it (Linux 5.3 has it)"
    if not proc.exists():
        return f"handlers need /proc, and {proc} does not exist; mount it"
    return refused_pidfd()


def refused_pidfd() -> str | None:
    """Say that the kernel, or a filter before it, has no pidfd_open; None where it has."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as exc:
        if exc.errno in (errno.ENOSYS, errno.EPERM):
            return f"handlers need pidfd_open, and this system refuses it ({exc.strerror}): Linux 5.3 has it"
    return None  # also where only the descriptors are used up


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends (Linux ≥ 2.1.57).

    The agent starts children on its main thread for this reason. The caller must look afterwards
    whether its parent had ended before.
    """
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def become_subreaper() -> None:
    """Have orphans below this process become its children, so that they are found (Linux ≥ 3.4)."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def flush_c_streams() -> None:
    """Write out what native code has printed to C's stdout and holds back, as pipes make it do."""
    if sys.platform == "linux":
        c_library().fflush(None)


@cache
def c_library() -> ctypes.CDLL:
    """Return the C library; to open it takes 10 µs, and this process has it anyway."""
    return ctypes.CDLL(None)


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process; a kernel that refuses changes nothing: others guard too."""
    if sys.platform == "linux":
        c_library().prctl(option, ctypes.c_ulong(value), 0, 0, 0)
