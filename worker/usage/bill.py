"""Put the figures of one run together: each with method and coverage, or why it is missing."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, Self

from worker.usage.disk import DiskLedger
from worker.usage.ledger import Cpu
from worker.usage.ram import MISSED, Ram
from worker.usage.usage import Usage

__all__ = ["Bill", "Seen"]

CPU = ("cpu_user_s", "cpu_system_s")
RAM = ("ram_peak_bytes", "ram_average_bytes")
DISK = ("disk_read_bytes", "disk_written_bytes")
COVERAGE_MOST = 0.9999  # of what is not covered in whole


class Seen:
    """When each figure was last looked at, in monotonic seconds; None: never."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.started_mono: float | None = None
        self.cpu_mono: float | None = None
        self.cpu_reason = ""  # why the CPU is of an earlier time
        self.ram_mono: float | None = None
        self.disk_mono: float | None = None

    def looks(self) -> dict[str, float | None]:
        """Return when figures were looked at that are those of a look."""
        return {
            **dict.fromkeys(CPU, self.cpu_mono),
            "ram_peak_bytes": self.ram_mono,
            **dict.fromkeys(DISK, self.disk_mono),
        }


class Bill(NamedTuple):
    """What was counted of a run."""

    cpu: Cpu | None
    cpu_method: str
    ram: Ram
    disk: DiskLedger | None
    gpus: float
    seen: Seen

    @classmethod
    def empty(cls, started_mono: float | None, gpus: float) -> Self:
        """Return that of a run whose process could not be read at its start."""
        seen = Seen()
        seen.started_mono = started_mono
        return cls(None, "", Ram(), None, gpus, seen)

    def usage(self, now_mono: float, *, complete: bool, reason: str) -> Usage:
        """Return the figures at a moment.

        Args:
            now_mono: the moment.
            complete: whether they are those of the end.
            reason: why processes could not be looked at; "" where they could.
        """
        started_mono = self.seen.started_mono
        wall_s = None if started_mono is None else now_mono - started_mono
        disk = None if self.disk is None else self.disk.disk
        methods = self._methods()
        return Usage(
            wall_s=wall_s,
            cpu_user_s=None if self.cpu is None else self.cpu.user_s,
            cpu_system_s=None if self.cpu is None else self.cpu.system_s,
            ram_peak_bytes=self.ram.peak_bytes,
            ram_average_bytes=self.ram.average.value,
            disk_read_bytes=None if disk is None else disk.read_bytes,
            disk_written_bytes=None if disk is None else disk.written_bytes,
            gpu_allocated_s=gpu_allocated_s(wall_s, self.gpus),
            complete=complete,
            methods=methods,
            coverage=self._coverage(methods, wall_s, complete=complete),
            reasons=self._reasons(reason),
        )

    def _methods(self) -> dict[str, str]:
        methods: dict[str, str] = {}
        if self.seen.started_mono is not None:
            methods["wall_s"] = "clock"
            methods["gpu_allocated_s"] = "wall_x_gpus"
        if self.cpu is not None:
            methods["cpu_user_s"] = methods["cpu_system_s"] = self.cpu_method
        if self.ram.peak_bytes is not None:
            methods["ram_peak_bytes"] = self.ram.peak_method
        if self.ram.average.value is not None:
            methods["ram_average_bytes"] = self.ram.average_method
        if self.disk is not None and self.disk.disk is not None:
            methods["disk_read_bytes"] = methods["disk_written_bytes"] = "proc_io_tree"
        return methods

    def _coverage(
        self, methods: Collection[str], wall_s: float | None, *, complete: bool
    ) -> dict[str, float]:
        """Return the share of the wall time that lies before the last look, or between samples; 0…1."""
        if wall_s is None:
            return {}
        found = dict.fromkeys(methods, 1.0)
        if "ram_average_bytes" in found:
            found["ram_average_bytes"] = ratio(self.ram.average.covered_s, wall_s)
        if not complete:
            started_mono = self.seen.started_mono or 0.0
            for name, seen_mono in self.seen.looks().items():
                if name in found:
                    found[name] = ratio((seen_mono or started_mono) - started_mono, wall_s)
        if self.ram.missed_s is not None and "ram_peak_bytes" in found:
            found["ram_peak_bytes"] = less(found["ram_peak_bytes"], self.ram.missed_s, wall_s)
        return found

    def _reasons(self, reason: str) -> dict[str, str]:
        """Return why a figure is missing, or of an earlier time, or less than it could be."""
        reasons: dict[str, str] = {}
        if self.seen.started_mono is None:
            reasons |= dict.fromkeys(("wall_s", "gpu_allocated_s"), reason)
        if self.seen.cpu_reason:
            reasons |= dict.fromkeys(CPU, self.seen.cpu_reason)
        if reason:
            by_tree = (*RAM, *DISK) if self.cpu_method == "cgroup" else (*CPU, *RAM, *DISK)
            return dict.fromkeys(by_tree, reason) | reasons
        if self.ram.reason:
            reasons["ram_peak_bytes"] = self.ram.reason
        elif self.ram.missed_s is not None:
            reasons["ram_peak_bytes"] = MISSED
        elif self.ram.peak_bytes is None:
            reasons["ram_peak_bytes"] = "the process had ended before its memory was read"
        if self.ram.average.value is None:
            reasons["ram_average_bytes"] = "the process had ended before its memory was read"
        if self.disk is not None and self.disk.reason:
            reasons |= dict.fromkeys(DISK, self.disk.reason)
        return reasons


def ratio(part_s: float, whole_s: float) -> float:
    """Return a share to four digits; of nothing, all."""
    return round(min(1.0, part_s / whole_s), 4) if whole_s > 0 else 1.0


def less(coverage: float, missed_s: float, whole_s: float) -> float:
    """Return a coverage without a time in which something may have been missed: never all."""
    return round(max(0.0, min(coverage - ratio(missed_s, whole_s), COVERAGE_MOST)), 4)


def gpu_allocated_s(wall_s: float | None, gpus: float) -> float | None:
    """Return GPU seconds that were set aside: 0.0 without a GPU, which is true and not unknown."""
    if gpus == 0:
        return 0.0
    return None if wall_s is None else wall_s * gpus
