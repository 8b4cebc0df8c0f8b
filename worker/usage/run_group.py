"""The control group that a run's child was started in, as far as one counts for it."""

from __future__ import annotations

from typing import NamedTuple

from worker.minder.cpu_group import CpuGroup
from worker.minder.memory_group import MemoryGroup

__all__ = ["RunGroup"]


class RunGroup(NamedTuple):
    """What counts in a child's own group: reads cost some 10 µs, whatever the size of its tree."""

    cpu: CpuGroup | None = None
    memory: MemoryGroup | None = None

    def cpu_s(self) -> tuple[float, float] | None:
        """Return CPU seconds of all its processes since its birth, and those in the kernel alone."""
        return None if self.cpu is None else self.cpu.used_s()

    def close(self) -> None:
        """Read no more."""
        for counter in self:
            if counter is not None:
                counter.close()

    def memory_bytes(self) -> int | None:
        """Return the anonymous and shared memory that it holds, page cache not counted."""
        return None if self.memory is None else self.memory.used_bytes()
