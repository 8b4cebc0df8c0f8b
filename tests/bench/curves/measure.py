"""The curves, each with what measures it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.bench.curves.agents import over_agents
from tests.bench.curves.axes import Axis, Extent
from tests.bench.curves.pending import over_pending
from tests.bench.curves.reports import over_reports
from tests.bench.curves.results import over_results
from tests.bench.curves.slots import over_slots
from tests.bench.figure import Figure

__all__ = ["measure_curve"]

OVER: Final[dict[str, Callable[[Path, Sequence[int], Extent], list[Figure]]]] = {
    "slots": over_slots,
    "agents": over_agents,
    "pending": over_pending,
    "results": over_results,
    "reports": over_reports,
}


def measure_curve(axis: Axis, points: Sequence[int], folder: Path, extent: Extent) -> list[Figure]:
    """Measure at some points of an axis; `folder` is on a disk."""
    place = folder / f"curve-{axis.name}-{points[0]}"
    place.mkdir()
    return OVER[axis.name](place, points, extent)
