"""The CPU of a run, added up: of a tree over births, deaths and adoptions, or of a control group.

Pure arithmetic on readings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple

from worker.usage.process import Key, ProcessReading

__all__ = ["Cpu", "CpuLedger", "GroupCpu"]

TICKS_OF_DOUBT_S = 0.02  # `cutime` and `cstime` are cut to whole ticks of 10 ms each


class Cpu(NamedTuple):
    """CPU seconds of a run so far."""

    user_s: float
    system_s: float


class GroupCpu:
    """Follow the counters of a control group, relative to their first reading."""

    def __init__(self, first: tuple[float, float]) -> None:
        """Start at a first reading (all, and in the kernel), which is not charged to the run."""
        self._base_s, self._base_system_s = first
        self.cpu = Cpu(0.0, 0.0)

    def update(self, now: tuple[float, float]) -> Cpu:
        """Take the next reading; return the CPU since the first."""
        self.cpu = split(self.cpu, now[0] - self._base_s, now[1] - self._base_system_s)
        return self.cpu


class CpuLedger:
    """Follow the sum of a tree's counters, relative to its first reading.

    A child that ends moves its CPU to the parent that waits for it, so the sum stays. Where nobody in
    the tree waits (an orphan, a parent that ignores SIGCHLD) the CPU would vanish from the sum: the last
    reading of that child is kept. Neither the total nor a part ever goes down.
    """

    def __init__(self, first: dict[Key, ProcessReading]) -> None:
        """Start at a first reading, which is not charged to the run."""
        self._last = first
        self._base_s, self._base_system_s = totals(first)
        self._lost_s = 0.0
        self._lost_system_s = 0.0
        self.cpu = Cpu(0.0, 0.0)

    @property
    def known(self) -> tuple[Key, ...]:
        """Return the processes of the last reading."""
        return tuple(self._last)

    @property
    def last(self) -> dict[Key, ProcessReading]:
        """Return the last reading."""
        return self._last

    def forget(self, keys: Collection[Key]) -> None:
        """Take that processes are not the run's: they have not ended, and nobody has their counters."""
        self._last = {key: reading for key, reading in self._last.items() if key not in keys}

    def lacks(self, readings: dict[Key, ProcessReading]) -> bool:
        """Tell whether a reading has less of an ended process than it had: nobody waited, or not yet."""
        return self._shortfall(readings)[0] > 0

    def update(self, readings: dict[Key, ProcessReading]) -> Cpu:
        """Take the next reading of the tree; return the CPU since the first."""
        missing_s, missing_system_s = self._shortfall(readings)
        self._lost_s += missing_s
        self._lost_system_s += missing_system_s
        self._last = readings
        total_s, system_s = totals(readings)
        self.cpu = split(
            self.cpu,
            total_s + self._lost_s - self._base_s,
            system_s + self._lost_system_s - self._base_system_s,
        )
        return self.cpu

    def _shortfall(self, readings: dict[Key, ProcessReading]) -> tuple[float, float]:
        """Return the CPU, and its system part, that ended with processes and went to nobody."""
        if self._last.keys() <= readings.keys():
            return 0.0, 0.0  # nothing ended
        ended: defaultdict[Key | None, list[ProcessReading]] = defaultdict(list)
        for key, reading in self._last.items():
            if key not in readings:
                ended[self._heir(reading, readings)].append(reading)
        missing = [self._missing_of(heir, dead, readings) for heir, dead in ended.items()]
        return sum(total_s for total_s, _ in missing), sum(system_s for _, system_s in missing)

    def _heir(self, dead: ProcessReading, readings: dict[Key, ProcessReading]) -> Key | None:
        """Return the nearest ancestor that lives on, which is where the CPU went if all were waited for."""
        by_pid = {key.pid: reading for key, reading in self._last.items()}
        ancestor = by_pid.get(dead.parent_pid)
        while ancestor is not None and ancestor.key not in readings:
            ancestor = by_pid.get(ancestor.parent_pid)
        return None if ancestor is None else ancestor.key

    def _missing_of(
        self, heir: Key | None, dead: list[ProcessReading], readings: dict[Key, ProcessReading]
    ) -> tuple[float, float]:
        gone_s = sum(reading.total_s for reading in dead)
        inherited_s = 0.0
        if heir is not None:
            inherited_s = readings[heir].reaped_s - self._last[heir].reaped_s
        missing_s = gone_s - inherited_s
        if missing_s <= (TICKS_OF_DOUBT_S if heir is not None else 0.0):
            return 0.0, 0.0
        return missing_s, sum(reading.total_system_s for reading in dead) * missing_s / gone_s


def totals(readings: dict[Key, ProcessReading]) -> tuple[float, float]:
    """Return total and system CPU seconds of a tree."""
    total_s = system_s = 0.0
    for reading in readings.values():
        total_s += reading.own_s + reading.reaped_s
        system_s += reading.own_system_s + reading.reaped_system_s
    return total_s, system_s


def split(before: Cpu, total_s: float, system_s: float) -> Cpu:
    """Return a total in its two parts, where no part is lower than before and the total is kept.

    The total is exact, the system part comes in ticks; the rest is user time, as the kernel does it.
    """
    total_s = max(total_s, before.user_s + before.system_s)
    system_s = max(min(system_s, total_s - before.user_s), before.system_s)
    return Cpu(max(total_s - system_s, before.user_s), system_s)  # the last bit of a difference may be lower
