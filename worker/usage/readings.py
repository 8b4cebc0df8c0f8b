"""What follows from the readings of a tree of processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from worker.usage.process import Key, ProcessReading
from worker.usage.rusage import Rusage

__all__ = ["Left", "has_reaped_between", "keys_below", "root_of", "settled"]


class Left(NamedTuple):
    """What a run leaves in its process."""

    # As the kernel lists them: who was read would be too few, one of them may not be readable just then. Dead
    # ones too, which nobody has waited for; None: nobody can tell.
    child_pids: frozenset[int] | None
    anonymous_bytes: int | None  # its memory, without files and shared memory


def root_of(readings: Mapping[Key, ProcessReading], pid: int) -> ProcessReading | None:
    """Return the reading of one process; None where it is not among them."""
    for key, reading in readings.items():  # mostly it is the first
        if key.pid == pid:
            return reading
    return None


def settled(root: ProcessReading, rusage: Rusage) -> ProcessReading:
    """Return the last reading of an ended process with wait4's sums, which hold its reaped children."""
    total_s = rusage.ru_utime + rusage.ru_stime
    return root._replace(
        reaped_s=max(total_s - root.own_s, root.reaped_s),
        reaped_system_s=max(rusage.ru_stime - root.own_system_s, root.reaped_system_s),
        ram_bytes=None,
        hwm_bytes=None,
    )


def has_reaped_between(before: Mapping[Key, ProcessReading], after: Mapping[Key, ProcessReading]) -> bool:
    """Tell whether processes were waited for between two looks: nobody saw the most memory that they had.

    Each that runs at all begins to use pages; where those are not told its CPU is, in ticks.
    """
    for key, now in after.items():
        if now.reaped_faults or now.reaped_s:  # mostly there are none
            then = before.get(key)
            if then is None or now.reaped_faults > then.reaped_faults or now.reaped_s > then.reaped_s:
                return True
    return False


def keys_below(pid: int, readings: dict[Key, ProcessReading]) -> set[Key]:
    """Return those of a reading that are one process or below it; a tree is read from its top down."""
    pids: set[int] = {pid}
    found: set[Key] = set()
    for key, reading in readings.items():
        if key.pid in pids or reading.parent_pid in pids:
            pids.add(key.pid)
            found.add(key)
    return found
