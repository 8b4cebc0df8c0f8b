"""The bill of one run."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

__all__ = ["Usage", "rounded", "unmeasured"]

FIGURES = (
    "wall_s", "cpu_user_s", "cpu_system_s", "ram_peak_bytes", "ram_average_bytes",
    "disk_read_bytes", "disk_written_bytes", "gpu_allocated_s",
)  # fmt: skip


class Usage(Struct, frozen=True, kw_only=True):
    """What a run consumed so far. None means unknown, and `reasons` tells why.

    `methods` names, per field, how it was measured (``wait4``, ``cgroup``, ``vm_hwm``, …), and `coverage`
    the share of the wall time (0…1) that it covers: up to the last look, or between an average's samples.
    `complete` is False where the run died before its last sample (a bill from a checkpoint).
    """

    wall_s: float | None = None
    cpu_user_s: float | None = None
    cpu_system_s: float | None = None
    ram_peak_bytes: int | None = None
    ram_average_bytes: int | None = None
    disk_read_bytes: int | None = None
    disk_written_bytes: int | None = None
    gpu_allocated_s: float | None = None
    complete: bool = False
    methods: dict[str, str] = field(default_factory=dict)
    coverage: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def cpu_s(self) -> float | None:
        """User and system CPU seconds together; None where one of them is unknown."""
        if self.cpu_user_s is None or self.cpu_system_s is None:
            return None
        return self.cpu_user_s + self.cpu_system_s

    def as_run_fields(self) -> dict[str, Any]:
        """Return the usage fields of a run on the wire: seconds, and peak bytes."""
        return {
            "wallClockTime": rounded(self.wall_s),
            "CPUTime": rounded(self.cpu_s),
            "GPUTime": rounded(self.gpu_allocated_s),
            "RAMUsage": self.ram_peak_bytes,
        }

    def as_details(self) -> dict[str, Any]:
        """Return `results.usage`: every figure with its method or the reason why it is unknown."""
        return {
            "wallSeconds": rounded(self.wall_s),
            "cpuUserSeconds": rounded(self.cpu_user_s),
            "cpuSystemSeconds": rounded(self.cpu_system_s),
            "ramPeakBytes": self.ram_peak_bytes,
            "ramAverageBytes": self.ram_average_bytes,
            "diskReadBytes": self.disk_read_bytes,
            "diskWrittenBytes": self.disk_written_bytes,
            "gpuAllocatedSeconds": rounded(self.gpu_allocated_s),
            "complete": self.complete,
            "methods": self.methods,
            "coverage": self.coverage,
            "reasons": self.reasons,
        }


def unmeasured(reason: str) -> Usage:
    """Return the bill of a run of which nothing is known, and why."""
    return Usage(reasons=dict.fromkeys(FIGURES, reason))


def rounded(seconds: float | None) -> float | None:
    """Round to microseconds: finer digits would pretend a precision that no source has."""
    return None if seconds is None else round(seconds, 6)
