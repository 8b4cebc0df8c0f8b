"""Lines over time as SVG: drawn on the server, so that they need no script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct

__all__ = ["Plot", "Point", "rates"]

WIDTH: Final = 600
HEIGHT: Final = 120

Point = tuple[float, float]  # seconds since the start, value


class Plot(Struct, frozen=True):
    """One line, from 0 to its highest value."""

    title: str
    points: tuple[Point, ...]
    say: Callable[[float], str]  # a value, for people
    top: float | None = None  # what stands for full height; None: the highest value

    @property
    def is_worth_it(self) -> bool:
        """Tell whether there is a line to draw."""
        return len(self.points) > 1

    @property
    def highest(self) -> float:
        """The highest value."""
        return max(value for _, value in self.points)

    @property
    def last(self) -> float:
        """The newest value."""
        return self.points[-1][1]

    @property
    def path(self) -> str:
        """The line, as the attribute `points` of an SVG polyline."""
        span_s = self.points[-1][0] - self.points[0][0] or 1.0
        top = self.top or self.highest or 1.0
        first_s = self.points[0][0]
        return " ".join(
            f"{(at_s - first_s) / span_s * WIDTH:.1f},{HEIGHT - min(value / top, 1.0) * HEIGHT:.1f}"
            for at_s, value in self.points
        )


def rates(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return how fast a counter grew between its samples, each at the later one; it never falls below 0."""
    return tuple(
        (at_s, max(0.0, value - before) / (at_s - before_s))
        for (before_s, before), (at_s, value) in pairwise(points)
        if at_s > before_s
    )
