"""The peak of RAM of one run: the highest of what several incomplete sources saw, with its name."""

from __future__ import annotations

from worker.usage.process import Key, ProcessReading, reset_peak, vm_hwm_bytes

__all__ = ["RamPeak"]

UNSEEN = "the process ended after the last look at its memory: the peak may have been higher"


class RamPeak:
    """Keep the highest RSS seen since the start; each source may miss a peak, so the highest wins.

    - ``vm_hwm``: the kernel's own high-water mark of one process; misses nothing, but counts one process.
    - ``tree_rss_sampled``: the sum over the tree at a sample; pages shared by two processes count twice.
    - ``wait4_maxrss``: of the largest process, known at its end. It is inherited from whoever started the
      process, so it is believed only above everything that it could have been inherited from.
    """

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.bytes: int | None = None
        self.method = ""
        self.reason = ""
        self.is_final = True  # nothing was consumed after the last look
        self._born_before: frozenset[Key] = frozenset()
        self._root: Key | None = None
        self._inherited_bytes: int | None = None

    def start(self, root: ProcessReading, readings: dict[Key, ProcessReading]) -> None:
        """Begin a run in a process whose earlier peak must not be taken for this run's."""
        self.reason = reset_peak(root.key.pid)
        self._root = root.key
        self._born_before = frozenset(readings)
        # A child reaped earlier may have set ru_maxrss; then it says nothing about this run.
        self._inherited_bytes = None if root.has_reaped else root.hwm_bytes
        self._take(sum(reading.rss_bytes or 0 for reading in readings.values()), "tree_rss_sampled")

    def update(self, readings: dict[Key, ProcessReading]) -> None:
        """Take one sample of the tree."""
        self._take(sum(reading.rss_bytes or 0 for reading in readings.values()), "tree_rss_sampled")
        for key, reading in readings.items():
            if self._is_of_this_run(key):
                self._take(reading.hwm_bytes or 0, "vm_hwm")

    def end(self, maxrss_bytes: int, parent_pid: int, is_sampled: bool) -> None:
        """Take `ru_maxrss` of the ended process where it tells more than the samples did.

        Where it tells nothing, and no sample was taken right before the end, a peak may have been missed.
        """
        parent_bytes = vm_hwm_bytes(parent_pid)
        inherited = (self._inherited_bytes, parent_bytes)
        if None not in inherited and maxrss_bytes > max(known or 0 for known in inherited):
            self._take(maxrss_bytes, "wait4_maxrss")
        elif not is_sampled:
            self.is_final = False
            self.reason = self.reason or UNSEEN

    def _is_of_this_run(self, key: Key) -> bool:
        return (key == self._root and not self.reason) or key not in self._born_before

    def _take(self, seen_bytes: int, method: str) -> None:
        if seen_bytes > (self.bytes or 0) or (seen_bytes == self.bytes and method == "vm_hwm"):
            self.bytes, self.method = seen_bytes, method
