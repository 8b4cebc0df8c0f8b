"""The figures of a run's bill, from its fields and `results.usage`, as numbers and in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from worker.api import wire
from worker.cli import human

if TYPE_CHECKING:
    from worker.api.models import Run

__all__ = ["FIGURES", "OF_GPUS", "Bill", "Figure", "bill_of", "can_have", "details_of", "is_complete"]


class Figure(NamedTuple):
    """One figure of a bill."""

    name: str  # in JSON
    title: str
    key: str  # by which methods, coverage and reasons know it
    field: str | None  # of the run
    detail: str | None  # in `results.usage`, where the run has no field, or a server that does not keep it
    shown: Callable[[float | None], str]
    combine: Callable[[Iterable[float]], float] | None = sum  # of several runs; None: there is no such thing


FIGURES: Final = (
    Figure("wallSeconds", "wall", "wall_s", "wallClockTime", "wallSeconds", human.duration),
    Figure("cpuSeconds", "CPU", "cpu_user_s", "CPUTime", None, human.duration),
    Figure("gpuSeconds", "GPU", "gpu_allocated_s", "GPUTime", "gpuAllocatedSeconds", human.duration),
    Figure("ramPeakBytes", "peak RAM", "ram_peak_bytes", "RAMUsage", "ramPeakBytes", human.size, max),
    Figure("ramAverageBytes", "avg RAM", "ram_average_bytes", None, "ramAverageBytes", human.size, None),
    Figure("diskReadBytes", "read", "disk_read_bytes", None, "diskReadBytes", human.size),
    Figure("diskWrittenBytes", "written", "disk_written_bytes", None, "diskWrittenBytes", human.size),
    Figure("gpuBusySeconds", "GPU busy", "gpu_busy_s", None, "gpuBusySeconds", human.duration),
    Figure("gpuPeakBytes", "GPU memory", "gpu_peak_bytes", None, "gpuPeakBytes", human.size, max),
    Figure("gpuEnergyJoules", "GPU energy", "gpu_energy_j", None, "gpuEnergyJoules", human.energy),
)
OF_GPUS: Final = ("gpuBusySeconds", "gpuPeakBytes", "gpuEnergyJoules")  # a run without a GPU has none


def details_of(run: Run) -> dict[str, Any]:
    """Return `results.usage` of a run, empty where it has none."""
    return wire.as_mapping(run.results.get("usage"))


def bill_of(run: Run) -> dict[str, float | None]:
    """Return the figures of one run; None for what is not known."""
    details = details_of(run)
    found: dict[str, float | None] = {}
    for figure in FIGURES:
        read = wire.as_int if figure.name.endswith("Bytes") else wire.as_float
        told = read(run.raw.get(figure.field)) if figure.field else None
        if told is None and figure.detail:
            told = read(details.get(figure.detail))
        found[figure.name] = told
    if found["cpuSeconds"] is None:
        parts = [wire.as_float(details.get(name)) for name in ("cpuUserSeconds", "cpuSystemSeconds")]
        found["cpuSeconds"] = None if None in parts else sum(part or 0.0 for part in parts)
    return found


def can_have(bill: dict[str, float | None], figure: Figure) -> bool:
    """Tell whether a run has a figure, known or not; one of which no GPU time is known may have had a GPU."""
    return figure.name not in OF_GPUS or bill["gpuSeconds"] != 0 or bill[figure.name] is not None


def is_complete(run: Run) -> bool | None:
    """Tell whether its bill is that of its end; None where nobody says."""
    complete = details_of(run).get("complete")
    return complete if isinstance(complete, bool) else None


class Bill:
    """The usage of a run in words."""

    def __init__(self, run: Run) -> None:
        """Read the figures."""
        figures = bill_of(run)
        self.wall = human.duration(figures["wallSeconds"])
        self.cpu = human.duration(figures["cpuSeconds"])
        self.gpu = human.duration(figures["gpuSeconds"])
        self.ram = human.size(figures["ramPeakBytes"])
