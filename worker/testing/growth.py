"""Whether memory grows from run to run: by its slope, which neither a busy machine nor a first run moves."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

__all__ = ["WARM_UP_RATIO", "growth_per_run"]

WARM_UP_RATIO: Final = 0.2  # of the runs at the beginning are not looked at: caches fill


def growth_per_run(sizes: Sequence[float]) -> float:
    """Return how much is added a run, after a warm-up.

    It is the median of the slopes between all pairs of runs (Theil–Sen): up to a quarter of the runs may
    be off by any amount. A leak goes on, and fragmentation comes to an end: so of the slope of all
    runs and that of their second half the smaller one counts.

    Raises:
        ValueError: there are fewer than ten sizes.
    """
    if len(sizes) < 10:
        raise ValueError(f"a slope needs ten runs or more, not {len(sizes)}")
    warm = sizes[int(len(sizes) * WARM_UP_RATIO) :]
    return min(slope(warm), slope(warm[len(warm) // 2 :]))


def slope(values: Sequence[float]) -> float:
    """Return the median slope between all pairs of values."""
    count = len(values)
    return median(
        (values[later] - values[earlier]) / (later - earlier)
        for earlier in range(count)
        for later in range(earlier + 1, count)
    )
