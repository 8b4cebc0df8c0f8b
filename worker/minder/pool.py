"""The memory that agent, minder and all children share: a container's, a service's, a pod's.

When it is used up the kernel kills in it, and since Kubernetes 1.28 everything in it at once, the agent
too. So the minder stops a run before.
"""

from __future__ import annotations

from worker.minder.hierarchy import NoCgroup, find_hierarchy
from worker.minder.memory_group import MemoryGroup

__all__ = ["PoolMemory"]


class PoolMemory:
    """The own group and those above it, as far as they are seen."""

    __slots__ = ("_levels",)

    def __init__(self, levels: list[MemoryGroup]) -> None:
        """Take the groups; use `open`."""
        self._levels = levels

    @classmethod
    def open(cls, root: str = "/") -> PoolMemory:
        """Find them; before groups of runs are opened, so that it starts at the agent's first place."""
        try:
            version, folders = find_hierarchy("memory", root)
        except NoCgroup:
            return cls([])
        return cls([MemoryGroup(version, folder) for folder in folders])

    def close(self) -> None:
        """Read no more."""
        for level in self._levels:
            level.close()

    def oom_kills(self) -> int | None:
        """Return how many processes of the own group the kernel has killed for want of memory so far.

        v1 does not count those of the groups of children, which count their own.
        """
        return self._levels[0].oom_kills() if self._levels else None

    def read(self) -> tuple[int, int] | None:
        """Return used memory (anonymous and shared) and limit, in bytes, of the level nearest to its limit.

        None where no level has a limit that can be read. The limit may be changed at any time (a pod
        is resized in place), so it is read each time.
        """
        seen = [
            (used_bytes, limit_bytes)
            for level in self._levels
            if (limit_bytes := level.limit_bytes()) is not None
            and (used_bytes := level.used_bytes()) is not None
        ]
        return min(seen, key=lambda pair: pair[1] - pair[0], default=None)
