"""The memory controller of one control group: its limit, its use, its kills; cgroup v1 and v2.

Use is anonymous and shared memory, what no swap-less machine can take back: page cache is not in it.
Formats: Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

import contextlib
import os

from worker.minder.files import flat_numbers, read_once, write_text
from worker.minder.kept_file import KeptFile

__all__ = ["MemoryGroup"]

# v1 says "no limit" with LONG_MAX rounded down to a page; 64 KiB is the largest page of any machine.
V1_NO_LIMIT_BYTES = (1 << 63) - (1 << 16)
V1_USED = (b"total_rss", b"total_shmem")
V2_USED = (b"anon", b"shmem")


class MemoryGroup:
    """One folder of the memory controller. `close` at last, as of `CpuGroup`."""

    __slots__ = ("_events", "_stat", "folder", "version")

    def __init__(self, version: int, folder: str) -> None:
        """Take the folder of the group in the hierarchy that has the controller."""
        self.version = version
        self.folder = folder
        self._stat = KeptFile(f"{folder}/memory.stat")
        self._events = KeptFile(f"{folder}/memory.{'oom_control' if version == 1 else 'events'}")

    def used_bytes(self) -> int | None:
        """Return anonymous and shared memory of the group and those below; None where it is not told."""
        names = V1_USED if self.version == 1 else V2_USED
        used_bytes = flat_numbers(self._stat.read(), *names)
        return None if used_bytes is None else sum(used_bytes)

    def limit_bytes(self) -> int | None:
        """Return the group's own limit; None where it has none.

        v1 also adds up the limits above it, those too that a container does not see.
        """
        if self.version == 2:
            return number(read_once(f"{self.folder}/memory.max"))
        above = flat_numbers(self._stat.read(), b"hierarchical_memory_limit") or (None,)
        limits = [number(read_once(f"{self.folder}/memory.limit_in_bytes")), *above]
        return min(
            (limit for limit in limits if limit is not None and limit < V1_NO_LIMIT_BYTES), default=None
        )

    def oom_kills(self) -> int | None:
        """Return how many processes of the group the kernel has killed for want of memory, so far.

        Where it kills a group as a whole it may count one of them twice: whether it is 0 is certain.
        """
        kills = flat_numbers(self._events.read(), b"oom_kill")
        return None if kills is None else kills[0]

    def peak_bytes(self) -> int | None:
        """Return the most that the group has had, page cache included; None where it is not told."""
        name = "memory.max_usage_in_bytes" if self.version == 1 else "memory.peak"
        return number(read_once(f"{self.folder}/{name}"))

    def close(self) -> None:
        """Read no more."""
        self._stat.close()
        self._events.close()

    def limit(self, limit_bytes: int | None) -> bool:
        """Set or lift the limit; tell whether it holds.

        What is used already may be above it: then nothing is set, as v2 would kill for it here and now
        and let the caller wait, and v1 would try to reclaim for long and refuse.
        """
        if limit_bytes is not None and (self.used_bytes() or 0) >= limit_bytes:
            return False
        try:
            return self._limit_v1(limit_bytes) if self.version == 1 else self._limit_v2(limit_bytes)
        except OSError:
            return False

    def _limit_v2(self, limit_bytes: int | None) -> bool:
        """Set it without swap, and so that the kernel kills all of the group or nothing (Linux ≥ 4.19)."""
        for name, value in (
            ("memory.oom.group", "1"),
            ("memory.swap.max", "max" if limit_bytes is None else "0"),
        ):
            with contextlib.suppress(OSError):  # an older kernel, one without swap
                write_text(f"{self.folder}/{name}", value)
        write_text(f"{self.folder}/memory.max", "max" if limit_bytes is None else str(limit_bytes))
        return True

    def _limit_v1(self, limit_bytes: int | None) -> bool:
        """Set it for memory alone and for memory with swap, of which the second is never the lower one."""
        value = "-1" if limit_bytes is None else str(limit_bytes)
        plain, with_swap = (f"{self.folder}/memory.{name}limit_in_bytes" for name in ("", "memsw."))
        steps = (plain, with_swap, plain) if os.path.exists(with_swap) else (plain,)
        refused = None
        for path in steps:  # lowered by the first two, raised by the last two
            refused = refusal(path, value)
        if refused is not None:
            raise refused
        return True


def refusal(path: str, value: str) -> OSError | None:
    """Write a value; return why the kernel did not take it."""
    try:
        write_text(path, value)
    except OSError as exc:
        return exc
    return None


def number(data: bytes | None) -> int | None:
    """Return the number that a file holds; None for "max", for no file and for junk."""
    data = (data or b"").strip()
    return int(data) if data.isdigit() else None
