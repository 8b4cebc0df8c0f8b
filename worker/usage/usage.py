"""The bill of one run."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct, ValidationError, convert, field

__all__ = ["Usage", "read_details", "rounded", "unmeasured"]

DIGITS: Final = 6  # of seconds: finer ones would pretend a precision that no source has
# Each figure's name in `results.usage`.
NAMES: Final = {
    "wall_s": "wallSeconds",
    "cpu_user_s": "cpuUserSeconds",
    "cpu_system_s": "cpuSystemSeconds",
    "ram_peak_bytes": "ramPeakBytes",
    "ram_average_bytes": "ramAverageBytes",
    "disk_read_bytes": "diskReadBytes",
    "disk_written_bytes": "diskWrittenBytes",
    "gpu_allocated_s": "gpuAllocatedSeconds",
}
# Likewise, of a run that had GPUs.
GPU_NAMES: Final = {
    "gpu_busy_s": "gpuBusySeconds",
    "gpu_peak_bytes": "gpuPeakBytes",
    "gpu_energy_j": "gpuEnergyJoules",
}


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
    gpu_busy_s: float | None = None
    gpu_peak_bytes: int | None = None
    gpu_energy_j: float | None = None
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
        had_gpus = not GPU_NAMES.keys().isdisjoint(self.methods.keys() | self.reasons.keys())
        names = {**NAMES, **GPU_NAMES} if had_gpus else NAMES
        return {
            **{
                key: round(value, DIGITS) if isinstance(value := getattr(self, name), float) else value
                for name, key in names.items()
            },
            "complete": self.complete,
            "methods": self.methods,
            "coverage": self.coverage,
            "reasons": self.reasons,
        }


def read_details(told: object) -> Usage | None:
    """Return what `results.usage` of a run said; None where it says nothing that is understood."""
    if not isinstance(told, dict):
        return None
    fields = {name: told.get(key) for name, key in {**NAMES, **GPU_NAMES}.items()}
    fields |= {name: told.get(name) for name in ("complete", "methods", "coverage", "reasons")}
    try:
        return convert({name: value for name, value in fields.items() if value is not None}, Usage)
    except ValidationError:
        return None


def unmeasured(reason: str) -> Usage:
    """Return the bill of a run of which nothing is known, and why."""
    return Usage(reasons=dict.fromkeys(NAMES, reason))


def rounded(seconds: float | None) -> float | None:
    """Round to microseconds."""
    return None if seconds is None else round(seconds, DIGITS)
