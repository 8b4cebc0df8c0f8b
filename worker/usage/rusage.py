"""What wait4 says of an ended process."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Rusage"]


class Rusage(NamedTuple):
    """The part of ``struct rusage`` (getrusage(2)) that a bill needs, by its names there."""

    ru_utime: float  # seconds in user mode, its own and of the children that it waited for
    ru_stime: float  # seconds in the kernel
    ru_maxrss: int  # KiB, of the largest process
    ru_inblock: int = (
        0  # blocks of 512 bytes read from devices, its own and of the children that it waited for
    )
    ru_oublock: int = 0  # the same, made dirty: written, or to be written
