"""Judge a soak by what was counted at rest. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from tests.soak.census import Census

__all__ = ["MAX_SLOPE_BYTES", "Slope", "problems_of", "rest_of", "slope_of"]

MAX_SLOPE_BYTES: Final = 1024 * 1024  # more of the agent's RSS per 1,000 runs
SURE_RUNS: Final = 1000  # after the warm-up: below, the slope counts only where it is clear beyond its error
FEWEST: Final = 4  # censuses for a slope
SPARE_DESCRIPTORS: Final = 14  # an idle child that had a run has four, a fresh one none; pools open late
WARM_UP_S: Final = 60.0


class Slope(NamedTuple):
    """A growth per 1,000 runs, by least squares."""

    bytes: float
    error_bytes: float  # standard error
    runs: int  # from the first census to the last


def rest_of(taken: Sequence[Census]) -> list[Census]:
    """Return the censuses after the warm-up: a minute (or a third), and every handler seen once."""
    until_s = min(WARM_UP_S, taken[-1].at_s / 3)
    return [one for one in taken if one.at_s >= until_s and not one.is_warm_up] or [taken[-1]]


def slope_of(points: Sequence[tuple[int, int]]) -> Slope | None:
    """Return the growth of bytes over runs; None where the points are too few to tell."""
    count = len(points)
    if count < FEWEST or points[0][0] == points[-1][0]:
        return None
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    error = math.sqrt(rest / (count - 2) / spread)
    return Slope(slope * 1000, error * 1000, points[-1][0] - points[0][0])


def is_too_steep(slope: Slope | None) -> bool:
    """Tell whether memory grows by more than its bound; a short soak must be sure of it."""
    if slope is None:
        return False
    doubt = 0.0 if slope.runs >= SURE_RUNS else 3 * slope.error_bytes
    return slope.bytes - doubt >= MAX_SLOPE_BYTES


def problems_of(taken: Sequence[Census]) -> list[str]:
    """Return what broke a bound between the end of the warm-up and the end; none is a pass."""
    rest = rest_of(taken)
    first, last = rest[0], rest[-1]
    found = []
    for name, points in (
        ("agent", [(one.runs, one.rss_bytes) for one in rest]),
        ("minder", [(one.runs, one.minder_rss_bytes) for one in rest]),
    ):
        slope = slope_of(points)
        if slope is not None and is_too_steep(slope):
            grown = f"{slope.bytes / 2**20:.2f} ± {slope.error_bytes / 2**20:.2f} MiB"
            found.append(f"the {name}'s memory grows by {grown} per 1,000 runs")
    if last.descriptors > first.descriptors + SPARE_DESCRIPTORS:
        found.append(f"{last.descriptors} descriptors at the end, {first.descriptors} after the warm-up")
    if last.processes > first.processes:
        found.append(f"{last.processes} processes at the end, {first.processes} after the warm-up")
    if any(one.zombies for one in taken):
        found.append(f"{max(one.zombies for one in taken)} zombies")
    return found
