"""Measure what one run consumes, from its start in a process to its end there."""

from __future__ import annotations

from worker.clock import Clock
from worker.usage.ledger import CpuLedger
from worker.usage.peak import RamPeak
from worker.usage.process import Key, ProcessReading
from worker.usage.rusage import Rusage
from worker.usage.source import Source, source_of_this_system
from worker.usage.usage import Usage

__all__ = ["Meter"]


class Meter:
    """Measure one run in process `pid` and everything below it.

    A meter is for one run; a warm child gets a new one for each. It holds no files and no threads, so
    it may be dropped at any time. One sample costs about 0.1 ms for a process without children.
    """

    def __init__(self, pid: int, clock: Clock, *, gpus: int = 0, source: Source | None = None) -> None:
        """Prepare to measure; `gpus` is the number of GPUs that are given to the run alone."""
        self._pid = pid
        self._clock = clock
        self._gpus = gpus
        self._source = source
        self._started_mono: float | None = None
        self._ledger: CpuLedger | None = None
        self._peak = RamPeak()
        self._cpu_method = ""
        self._missing = "the meter was not started"

    def start(self) -> None:
        """Take what was consumed before as the baseline, and set the peak of RAM back."""
        self._source = self._source or source_of_this_system()
        self._started_mono = self._clock.mono()
        readings, reason = self._read()
        root = self._root(readings)
        if root is None:
            self._missing = reason
            return
        self._ledger = CpuLedger(readings)
        self._peak.start(root, readings)
        self._name_cpu_method(root)

    def sample(self) -> Usage:
        """Return what was consumed so far. Never raises; what cannot be read is None with a reason."""
        reason = self._update()
        return self._usage(complete=False, reason=reason)

    def finish(self, rusage: Rusage | None = None, *, is_sampled: bool = False) -> Usage:
        """Return what the run consumed; call it once, at its end.

        Args:
            rusage: what wait4 said of the process, where it has ended; it covers its whole life and
                the children it waited for. None where the process lives on.
            is_sampled: a sample was taken right before the process was ended: it saw the peak of RAM.

        The usage is `complete` where the last figures are those of the end: of wait4, or of a
        process that is still there. A process that was lost leaves its last sample, incomplete.
        """
        if self._ledger is None:
            return self._usage(complete=False, reason=self._missing)
        if rusage is None:
            reason = self._update()
            return self._usage(complete=not reason, reason=reason)
        self._settle(self._ledger, rusage, is_sampled)
        return self._usage(complete=self._peak.is_final, reason="")

    def _update(self) -> str:
        """Take a sample; return "" or why there is none."""
        if self._ledger is None:
            return self._missing
        readings, reason = self._read(self._ledger.known)
        if self._root(readings) is None:
            return reason
        self._ledger.update(readings)
        self._peak.update(readings)
        return ""

    def _settle(self, ledger: CpuLedger, rusage: Rusage, is_sampled: bool) -> None:
        """Close the books with wait4's sums, beside those of orphans that still live."""
        readings, _ = self._read(ledger.known)
        root = self._root(ledger.last)
        if root is None:  # cannot be: a ledger begins with a root and keeps it
            return
        readings[root.key] = settled(root, rusage)
        ledger.update(readings)
        self._cpu_method = "wait4"
        self._peak.end(rusage.ru_maxrss * 1024, root.parent_pid, is_sampled)

    def _read(self, known: tuple[Key, ...] = ()) -> tuple[dict[Key, ProcessReading], str]:
        """Read the tree; return it with "", or what there is with the reason why its root is missing."""
        if self._source is None:
            return {}, self._missing
        try:
            readings = self._source.read_tree(self._pid, known)
        except (OSError, ValueError, IndexError) as exc:
            return {}, f"process {self._pid} could not be read: {exc}"
        return readings, "" if self._root(readings) else f"process {self._pid} is gone"

    def _root(self, readings: dict[Key, ProcessReading]) -> ProcessReading | None:
        return next((reading for key, reading in readings.items() if key.pid == self._pid), None)

    def _name_cpu_method(self, root: ProcessReading) -> None:
        if self._source is not None:
            self._cpu_method = self._source.cpu_method if root.is_exact else self._source.coarse_cpu_method

    def _usage(self, *, complete: bool, reason: str) -> Usage:
        wall_s = None if self._started_mono is None else self._clock.mono() - self._started_mono
        cpu = None if self._ledger is None else self._ledger.cpu
        return Usage(
            wall_s=wall_s,
            cpu_user_s=None if cpu is None else cpu.user_s,
            cpu_system_s=None if cpu is None else cpu.system_s,
            ram_peak_bytes=self._peak.bytes,
            gpu_allocated_s=gpu_allocated_s(wall_s, self._gpus),
            complete=complete,
            methods=self._methods(),
            reasons=self._reasons(reason),
        )

    def _methods(self) -> dict[str, str]:
        methods = (
            {"wall_s": "clock", "gpu_allocated_s": "wall_x_gpus"} if self._started_mono is not None else {}
        )
        if self._ledger is not None:
            methods |= {"cpu_user_s": self._cpu_method, "cpu_system_s": self._cpu_method}
        if self._peak.bytes is not None:
            methods["ram_peak_bytes"] = self._peak.method
        return methods

    def _reasons(self, reason: str) -> dict[str, str]:
        """Return why a figure is missing, or of an earlier time, or less than it could be."""
        reasons: dict[str, str] = {}
        if self._started_mono is None:
            reasons |= dict.fromkeys(("wall_s", "gpu_allocated_s"), self._missing)
        if reason:
            reasons |= dict.fromkeys(("cpu_user_s", "cpu_system_s", "ram_peak_bytes"), reason)
        elif self._peak.reason:
            reasons["ram_peak_bytes"] = self._peak.reason
        elif self._peak.bytes is None:
            reasons["ram_peak_bytes"] = "the process had ended before its memory was read"
        return reasons


def gpu_allocated_s(wall_s: float | None, gpus: int) -> float | None:
    """Return GPU seconds that were set aside: 0.0 without a GPU, which is true and not unknown."""
    if gpus == 0:
        return 0.0
    return None if wall_s is None else wall_s * gpus


def settled(root: ProcessReading, rusage: Rusage) -> ProcessReading:
    """Return the last reading of an ended process with wait4's sums, which hold its reaped children."""
    total_s = rusage.ru_utime + rusage.ru_stime
    return root._replace(
        reaped_s=max(total_s - root.own_s, root.reaped_s),
        reaped_system_s=max(rusage.ru_stime - root.own_system_s, root.reaped_system_s),
        rss_bytes=None,
        hwm_bytes=None,
    )
