"""Count what a soak has at rest: memory, descriptors, threads, and the processes below it."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path
from typing import Final

from msgspec import Struct

from tests.faults.processes import descendants, descriptors, is_minder

__all__ = ["Census", "take_census"]

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Census(Struct, frozen=True):
    """What was counted after so many runs, with no run going on."""

    at_s: float
    runs: int
    rss_bytes: int  # of the agent
    minder_rss_bytes: int  # of its minder; 0 where it has none
    descriptors: int
    processes: int
    threads: int
    zombies: int
    is_warm_up: bool = False  # not every handler was seen yet: each has its own largest message


def take_census(at_s: float, runs: int, *, is_warm_up: bool) -> Census:
    """Count now. What is freed is given back first: what malloc keeps comes and goes by megabytes."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    below = descendants()
    return Census(
        at_s=round(at_s, 1),
        runs=runs,
        rss_bytes=rss_of(os.getpid()),
        minder_rss_bytes=sum(rss_of(one.pid) for one in below if is_minder(one)),
        descriptors=len(descriptors()),
        processes=sum(not one.is_zombie for one in below),
        threads=len(list(Path("/proc/self/task").iterdir())),
        zombies=sum(one.is_zombie for one in below),
        is_warm_up=is_warm_up,
    )


def rss_of(pid: int) -> int:
    """Return the resident memory of a process; 0 where it has gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return 0
