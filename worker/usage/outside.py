"""What a run consumed outside of its process tree, as in a container, and its part of the bill."""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from worker.usage.average import Average
from worker.usage.usage import Usage

__all__ = ["Outside", "OutsideLedger"]

CPU = ("cpu_user_s", "cpu_system_s")
RAM = ("ram_peak_bytes", "ram_average_bytes")
DISK = ("disk_read_bytes", "disk_written_bytes")
NOT_LAST = "what was consumed outside of the run's processes is that of the last look, before its end"
DISK_UNKNOWN = "disk was used outside of the run's processes too, which is not measured"
UNKNOWN = "what was consumed outside of the run's processes is not known"


class Outside(NamedTuple):
    """One telling; see `worker.sdk.context.Context.usage`."""

    method: str
    cpu_user_s: float | None
    cpu_system_s: float | None
    ram_bytes: int | None
    ram_peak_bytes: int | None
    pid: int | None
    reason: str | None
    is_last: bool


class OutsideLedger:
    """Keep the last telling of a run, and the average of what was held."""

    def __init__(self) -> None:
        """Start with nothing told: then the bill is left as it is."""
        self.last: Outside | None = None
        self._average = Average()

    def begin(self, now_mono: float) -> None:
        """Start the run: nothing is held elsewhere yet."""
        self._average.add(now_mono, 0)

    def take(self, told: Outside, now_mono: float) -> None:
        """Take a telling in place of the one before."""
        self.last = told
        self._average.add(now_mono, told.ram_bytes or 0)

    def added_to(self, usage: Usage) -> Usage:
        """Return a bill with what was told; its method is named beside that of the run's own processes.

        Both peaks of memory are added, which is an upper bound: they need not have been at once.
        """
        told = self.last
        if told is None:
            return usage
        values = {
            "cpu_user_s": told.cpu_user_s,
            "cpu_system_s": told.cpu_system_s,
            "ram_peak_bytes": told.ram_peak_bytes,
            "ram_average_bytes": None if told.ram_bytes is None else self._average.value,
        }
        methods, reasons = dict(usage.methods), dict(usage.reasons)
        coverage = dict(usage.coverage)
        sums: dict[str, float | int | None] = {}
        for name, outside in values.items():
            own = getattr(usage, name)
            sums[name] = None if own is None or outside is None else own + outside
            if outside is None:
                reasons[name] = told.reason or UNKNOWN
            elif name in methods:
                methods[name] = f"{methods[name]}+{told.method}"
            if outside is not None and not told.is_last:
                reasons.setdefault(name, NOT_LAST)
        for name in (*DISK, *(name for name, value in sums.items() if value is None)):
            methods.pop(name, None)
            coverage.pop(name, None)
        for name in DISK:
            sums[name] = None
            reasons[name] = DISK_UNKNOWN
        return replace(
            usage,
            **sums,
            complete=usage.complete and told.is_last,
            methods=methods,
            coverage=coverage,
            reasons=reasons,
        )
