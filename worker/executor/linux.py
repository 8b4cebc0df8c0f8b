"""The two process attributes that Python has no call for (prctl(2)); elsewhere than on Linux: nothing."""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import Final

__all__ = ["become_subreaper", "die_with_parent", "flush_c_streams"]

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36


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
        ctypes.CDLL(None).fflush(None)


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process; a kernel that refuses changes nothing: others guard too."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)
