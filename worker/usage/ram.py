"""The memory of one run, anonymous and shared: its peak as several sources saw it, and its average.

Pages of files are not counted: the kernel takes them back when it needs room. Each figure carries its method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from worker.usage.average import Average
from worker.usage.process import Key, ProcessReading, pss_bytes, vm_hwm_bytes

__all__ = ["Ram"]

SHARES_MOST = (
    100  # processes whose shares of pages are added up: each costs a tenth of a millisecond or more …
)
SHARES_BYTES = 4 << 30  # … and this much of pages some 40 ms, while the agent does nothing else
UNSEEN = "the process ended after the last look at its memory: the peak may have been higher"
MISSED = "processes came and ended between two looks: the peak may have been higher"


class Mark(NamedTuple):
    """What one look saw of a process: the kernel's mark, and the files that it mapped at that moment."""

    hwm_bytes: int | None
    file_bytes: int


class Ram:
    """Keep the highest memory seen since the start, and the average of what was sampled.

    Each source may miss a peak, so the highest wins.

    - ``cgroup_sampled``: what the run's control group held at a sample.
    - ``tree_pss_sampled``: the sum over a tree at a sample, where a page of n users counts by n.
    - ``tree_rss_sampled``: the sum of what each process maps. Exact for one process; for more, where PSS
      cannot be read, pages that they share count once for each.
    - ``vm_hwm``: the kernel's own high-water mark of one process, where it grew since the last look, less the
      files that it mapped at that look or maps now, whichever is more. A mark that stayed tells nothing new:
      what is under it may be a file that has been unmapped since. It counts one process.
    - ``wait4_maxrss``: of the largest process, known at its end, where it is above every mark that was seen,
      less the most files that a process mapped when it was seen last. It is inherited from whoever started
      the process, so it is believed only above everything that it could have been inherited from.
    """

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.peak_bytes: int | None = None
        self.peak_method = ""
        self.reason = ""
        self.missed_s: float | None = (
            None  # between looks between which processes ended; None: there are none
        )
        self.is_final = True  # nothing was consumed after the last look
        self.average = Average()
        self._average_methods: list[str] = []
        self._marks: dict[Key, Mark] = {}  # of the last look
        self._highest_mark_bytes = 0  # of all looks
        self._root: Key | None = None
        self._ended_file_bytes = 0  # the most that a process mapped of files which has ended since
        self._inherited_bytes: int | None = None

    @property
    def average_method(self) -> str:
        """Return how the samples of the average were taken."""
        return "+".join(self._average_methods)

    def start(self, root: ProcessReading, readings: dict[Key, ProcessReading], reason: str = "") -> None:
        """Begin a run in a process whose earlier peak was set back; `reason` says why it could not be."""
        self.reason = reason
        self._root = root.key
        self._marks = {key: mark_of(reading) for key, reading in readings.items()}
        if not self.reason and root.ram_bytes is not None:
            files = root.file_bytes or 0
            self._marks[root.key] = Mark(root.ram_bytes + files, files)
            self._take(root.ram_bytes, "vm_hwm")
        # A child reaped earlier may have set ru_maxrss; then it says nothing about this run.
        self._inherited_bytes = None if root.has_reaped else root.hwm_bytes

    def sample(self, at_mono: float, held_bytes: int, method: str) -> None:
        """Take what the run held at one moment."""
        self._take(held_bytes, method)
        self.average.add(at_mono, held_bytes)
        if method not in self._average_methods:
            self._average_methods.append(method)

    def see(self, readings: dict[Key, ProcessReading]) -> None:
        """Take the high-water marks of a full reading, where they grew."""
        now: dict[Key, Mark] = {}
        for key, reading in readings.items():
            before = self._marks.pop(key, Mark(0, 0))
            now[key] = mark = mark_of(reading) if reading.hwm_bytes is not None else before
            if mark.hwm_bytes is None or before.hwm_bytes is None or mark.hwm_bytes <= before.hwm_bytes:
                continue
            self._highest_mark_bytes = max(self._highest_mark_bytes, mark.hwm_bytes)
            self._take(mark.hwm_bytes - max(mark.file_bytes, before.file_bytes), "vm_hwm")
        if self._marks:
            self._ended_file_bytes = max(self._ended_file_bytes, most_files(self._marks))
        self._marks = now

    def miss(self, between_s: float) -> None:
        """Take that processes ended between two looks, whose own peaks nobody saw."""
        self.missed_s = (self.missed_s or 0.0) + between_s

    def end(self, maxrss_bytes: int, parent_pid: int, *, is_sampled: bool) -> None:
        """Take `ru_maxrss` of the ended process where it tells more than the samples did.

        Where it tells nothing, or a peak after the last sample may be hidden below it by files that were
        unmapped, and no sample was taken right before the end, a peak may have been missed.
        """
        parent_bytes = vm_hwm_bytes(parent_pid)
        inherited = (self._inherited_bytes, parent_bytes)
        tells = None not in inherited and maxrss_bytes > max(known or 0 for known in inherited)
        if tells and maxrss_bytes > self._highest_mark_bytes:
            self._take(maxrss_bytes - max(self._ended_file_bytes, most_files(self._marks)), "wait4_maxrss")
        if not (is_sampled or (tells and maxrss_bytes - self._root_file_bytes <= (self.peak_bytes or 0))):
            self.is_final = False
            self.reason = self.reason or UNSEEN

    @property
    def _root_file_bytes(self) -> int:
        return 0 if self._root not in self._marks else self._marks[self._root].file_bytes

    def _take(self, seen_bytes: int, method: str) -> None:
        if seen_bytes > (self.peak_bytes or 0) or (seen_bytes == self.peak_bytes and method == "vm_hwm"):
            self.peak_bytes, self.peak_method = seen_bytes, method


def mark_of(reading: ProcessReading) -> Mark:
    """Return what a reading says of the mark."""
    return Mark(reading.hwm_bytes, reading.file_bytes or 0)


def most_files(marks: dict[Key, Mark]) -> int:
    """Return the most that a process mapped of files."""
    return max((mark.file_bytes for mark in marks.values()), default=0)


def held_by_tree(
    readings: dict[Key, ProcessReading], share: Callable[[int], int | None] = pss_bytes
) -> tuple[int, str] | None:
    """Return what the processes of a full reading hold, and how that was measured; None where nobody tells.

    Args:
        readings: of one tree.
        share: measures one process's part where pages may be shared.
    """
    living = {
        key.pid: reading.ram_bytes for key, reading in readings.items() if reading.ram_bytes is not None
    }
    if not living:
        return None
    held_bytes = sum(living.values())
    if 1 < len(living) <= SHARES_MOST and held_bytes <= SHARES_BYTES:
        shares = [share(pid) for pid in living]
        known = [share_bytes for share_bytes in shares if share_bytes is not None]
        if len(known) == len(shares):
            return sum(known), "tree_pss_sampled"
    return held_bytes, "tree_rss_sampled"
