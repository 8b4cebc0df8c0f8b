"""What a run read from and wrote to devices, added up over its tree: pure arithmetic on readings.

The kernel counts per process (proc_pid_io(5)), passes the counts of a child on to the parent that waits for
it, and tells the same with wait4. `io.stat` of a control group is not taken: it counts what was written when
it reaches the device, so that a run would be charged with what the one before it in the same child left in
the page cache, and not with its own.
"""

from __future__ import annotations

from typing import NamedTuple

from worker.usage.process import Key, ProcessReading
from worker.usage.rusage import Rusage

__all__ = ["Disk", "DiskLedger"]

BLOCK_BYTES = 512  # the unit of ru_inblock and ru_oublock


class Disk(NamedTuple):
    """Bytes read from devices; and bytes made dirty, which are written to them sooner or later."""

    read_bytes: int
    written_bytes: int


class DiskLedger:
    """Follow the sum of a tree's counters, relative to its first reading; it never goes down.

    Of a child that nobody in the tree waits for, its last reading is kept: what it did after that is missed.
    """

    def __init__(self, root: ProcessReading, readings: dict[Key, ProcessReading]) -> None:
        """Start at a first full reading, which is not charged to the run."""
        self._last = counters(readings)
        self._untold = readings.keys() - self._last.keys()  # were there before the run
        self._base = added(self._last)
        self._lost = Disk(0, 0)
        self.disk: Disk | None = Disk(0, 0)
        self.reason = ""
        if root.read_bytes is None or root.written_bytes is None:
            self.disk = None
            self.reason = (
                f"/proc/{root.key.pid}/io could not be read: another user's process, or no such file"
            )

    def lacks(self, readings: dict[Key, ProcessReading]) -> bool:
        """Tell whether a full reading has less of an ended process than it had: nobody waited, or not yet."""
        if self.disk is None or self._last.keys() <= readings.keys():
            return False
        return any(self._shortfall(self._carried(readings) | counters(readings)))

    def update(self, readings: dict[Key, ProcessReading]) -> None:
        """Take the next full reading of the tree."""
        if self.disk is None:
            return
        now = counters(readings)
        unread = len(readings) - len(now)
        self.reason = f"{unread} processes of the tree could not be read: another user's" if unread else ""
        if self._untold or now.keys() != self._last.keys():  # somebody came, went, or may tell at last
            now = self._carried(readings) | now
            self._begin_with(now)
            self._lost = plus(self._lost, self._shortfall(now))
        self._last = now
        total = added(now)
        lost, base = self._lost, self._base
        self.disk = Disk(
            max(self.disk.read_bytes, total.read_bytes + lost.read_bytes - base.read_bytes),
            max(self.disk.written_bytes, total.written_bytes + lost.written_bytes - base.written_bytes),
        )

    def settle(self, root: Key, rusage: Rusage, readings: dict[Key, ProcessReading]) -> None:
        """Close the books with what wait4 says of the ended root; `readings` are orphans that still live."""
        last = self._last.get(root, Disk(0, 0))
        known = Disk(rusage.ru_inblock * BLOCK_BYTES, rusage.ru_oublock * BLOCK_BYTES)
        now = Disk(*map(max, known, last))  # blocks are cut to whole ones
        ended = ProcessReading(root, 0, 1, 0, 0, 0, 0, False, False)
        self.update(readings | {root: ended._replace(read_bytes=now[0], written_bytes=now[1])})

    def _carried(self, readings: dict[Key, ProcessReading]) -> dict[Key, Disk]:
        """Return the last counters of all that still live: who does not tell for a moment has not ended."""
        return {key: disk for key, disk in self._last.items() if key in readings}

    def _begin_with(self, now: dict[Key, Disk]) -> None:
        """Charge nothing that a process did before the run, where it tells its counters only now."""
        if not self._untold:
            return
        told = {key: now[key] for key in self._untold & now.keys()}
        self._untold -= told.keys()
        self._last |= told
        self._base = plus(self._base, added(told))

    def _shortfall(self, now: dict[Key, Disk]) -> Disk:
        """Return what ended and was passed on to nobody: more than all that live on have grown by."""
        if self._last.keys() <= now.keys():
            return Disk(0, 0)  # nothing ended
        gone = added({key: disk for key, disk in self._last.items() if key not in now})
        grown = added({key: grown_by(disk, self._last.get(key)) for key, disk in now.items()})
        return Disk(*(max(0, one - other) for one, other in zip(gone, grown, strict=True)))


def counters(readings: dict[Key, ProcessReading]) -> dict[Key, Disk]:
    """Return the counters of the processes that tell them."""
    return {
        key: Disk(reading.read_bytes, reading.written_bytes)
        for key, reading in readings.items()
        if reading.read_bytes is not None and reading.written_bytes is not None
    }


def added(counts: dict[Key, Disk]) -> Disk:
    """Add counters up."""
    read_bytes = written_bytes = 0
    for disk in counts.values():
        read_bytes += disk.read_bytes
        written_bytes += disk.written_bytes
    return Disk(read_bytes, written_bytes)


def plus(one: Disk, other: Disk) -> Disk:
    """Add two counters up."""
    return Disk(one.read_bytes + other.read_bytes, one.written_bytes + other.written_bytes)


def grown_by(now: Disk, before: Disk | None) -> Disk:
    """Return by how much a process's counters have grown."""
    return now if before is None else Disk(now[0] - before[0], now[1] - before[1])
