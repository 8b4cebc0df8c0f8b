"""How much memory of its own a process has: what a leaking handler makes grow from run to run."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["private_bytes"]

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
READ_BYTES: Final = 256


def private_bytes(pid: int) -> int | None:
    """Return the anonymous memory of a process; None where it is gone. About 10 µs.

    From /proc/<pid>/statm (proc(5)): resident pages, less those of files and shared memory. The kernel
    counts per thread in batches, so some hundred KiB may be missing or too many.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fields = os.read(descriptor, READ_BYTES).split()
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return (int(fields[1]) - int(fields[2])) * PAGE_BYTES if len(fields) > 2 else None
