"""Limits that hold whatever the agent does: a deadline, and memory, of one child's run; and of all.

Memory is anonymous and shared memory: what no swap-less machine can take back. The sum over a tree
counts a page that a fork shares in every process, so it is only an upper bound; before anybody is
killed for it, the tree's proportional shares (PSS) are added up, which count each page once.
"""

from __future__ import annotations

from worker.minder.trees import read_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from worker.minder.trees import ProcessStat

__all__ = ["Pool", "TreeMemory", "look_again_s", "measure_tree"]

FILL_BYTES_PER_S = 2 * 1024**3  # as fast as a few threads can fill fresh memory
SOONEST_S = 0.02
LATEST_S = 1.0
POOL_SHARE = 0.05  # of a container's memory that must stay free of handlers …
POOL_RESERVE_BYTES = 64 * 1024**2  # … but at most so much


class TreeMemory:
    """What a tree holds, and who in it holds most."""

    __slots__ = ("biggest", "biggest_bytes", "used_bytes")

    def __init__(self, used_bytes: int, biggest: ProcessStat | None, biggest_bytes: int) -> None:
        """Set the values."""
        self.used_bytes = used_bytes
        self.biggest = biggest
        self.biggest_bytes = biggest_bytes

    def facts(self) -> dict[str, Any]:
        """Return what an overrun tells."""
        biggest = self.biggest
        return {
            "used_bytes": self.used_bytes,
            "pid": biggest.pid if biggest else None,
            "pid_bytes": self.biggest_bytes,
            "name": biggest.name if biggest else None,
        }


class Pool:
    """The memory of the container that agent and children share, where it has a limit."""

    def __init__(self, read: Callable[[], tuple[int, int] | None]) -> None:
        """Take what reads used and limit, in bytes; None where there is no limit."""
        self._read = read
        self.limit_bytes = 0
        self.used_bytes = 0

    def headroom_bytes(self) -> int | None:
        """Return how much children may still take; None where there is no limit."""
        seen = self._read()
        if seen is None:
            return None
        self.used_bytes, self.limit_bytes = seen
        reserve_bytes = min(int(self.limit_bytes * POOL_SHARE), POOL_RESERVE_BYTES)
        return self.limit_bytes - reserve_bytes - self.used_bytes


def measure_tree(tree: list[ProcessStat], limit_bytes: int) -> TreeMemory:
    """Measure the processes of a tree: exactly where they may be at its limit, else by the upper bound."""
    measured = summed(tree, resident_bytes)
    if measured.used_bytes > limit_bytes and len(tree) > 1:
        measured = summed(tree, proportional_bytes)
    return measured


def summed(tree: list[ProcessStat], measure: Callable[[int], int]) -> TreeMemory:
    """Add up a measure over the processes of a tree."""
    sizes = [(measure(stat.pid), stat) for stat in tree]
    biggest_bytes, biggest = max(sizes, key=lambda pair: pair[0], default=(0, None))
    return TreeMemory(sum(size_bytes for size_bytes, _ in sizes), biggest, biggest_bytes)


def resident_bytes(pid: int) -> int:
    """Return the anonymous and shared memory that a process maps; 0 where it is gone."""
    return sum_of(f"/proc/{pid}/status", (b"RssAnon:", b"RssShmem:"))


def proportional_bytes(pid: int) -> int:
    """Return its share of them, each page divided by its users; by RSS where the kernel does not tell."""
    share = sum_of(f"/proc/{pid}/smaps_rollup", (b"Pss_Anon:", b"Pss_Shmem:"))
    return share or resident_bytes(pid)


def sum_of(path: str, names: tuple[bytes, ...]) -> int:
    """Add up lines of a file of /proc that are in KiB."""
    try:
        lines = read_once(path).splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(names))


def look_again_s(headroom_bytes: int | None) -> float:
    """Return how soon memory must be looked at again: never later than it could be filled."""
    if headroom_bytes is None:
        return LATEST_S
    return min(LATEST_S, max(SOONEST_S, headroom_bytes / FILL_BYTES_PER_S))
