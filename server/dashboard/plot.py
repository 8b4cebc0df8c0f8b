"""Lines over time as SVG: drawn on the server, so that they need no script, with axes and in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct

from server.dashboard import words
from worker.cli import human

__all__ = ["AMOUNT", "RATIO", "SIZE", "Plot", "Point", "Scale", "rates"]

WIDTH: Final = 600
HEIGHT: Final = 120
MOST_STEPS: Final = 100  # of a rate
MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86400
NICE_TIMES_S: Final = (
    *(1, 2, 4, 6, 10, 20, 30, MINUTE_S),
    *(minutes * MINUTE_S for minutes in (2, 4, 6, 10, 20, 30, 60)),
    *(hours * HOUR_S for hours in (2, 4, 6, 12, 24)),
)

Point = tuple[float, float]  # seconds since the start, value


class Scale(Struct, frozen=True):
    """How values of a kind are said, and up to where an axis goes that shows them."""

    say: Callable[[float], str]
    end: Callable[[float], float]  # from the highest value to the end of its axis; a half of it is nice, too

    def ticks(self, highest: float) -> tuple[str, str, str]:
        """Return what stands at the end of the axis, in its middle and at 0."""
        end = self.end(highest)
        return self.tick(end), self.tick(end / 2), self.tick(0)

    def tick(self, value: float) -> str:
        """Return what stands at a place of the axis."""
        return self.say(value).replace(".0 ", " ")


class Plot(Struct, frozen=True):
    """One line, from the start of the run and from 0."""

    title: str
    points: tuple[Point, ...]
    scale: Scale
    has_mean: bool = False  # a mean of what grows only says nothing
    is_told_flat: bool = False  # that there was nothing all the time is worth to be seen

    @property
    def is_worth_it(self) -> bool:
        """Tell whether there is a line to draw that says something."""
        is_line = len(self.points) > 1 and self.points[-1][0] > 0
        return is_line and (self.is_told_flat or self.highest > 0)

    @property
    def highest(self) -> float:
        """The highest value."""
        return max(value for _, value in self.points)

    @property
    def lowest(self) -> float:
        """The lowest value."""
        return min(value for _, value in self.points)

    @property
    def last(self) -> float:
        """The newest value."""
        return self.points[-1][1]

    @property
    def mean(self) -> float:
        """The mean over time, of the line as it is drawn."""
        span_s = self.points[-1][0] - self.points[0][0]
        area = sum((to - at) * (a + b) / 2 for (at, a), (to, b) in pairwise(self.points))
        return area / span_s if span_s > 0 else self.last

    @property
    def in_words(self) -> str:
        """What the line shows, for those who do not see it, and to be exact for those who do."""
        say = self.scale.say
        mean = f", {say(self.mean)} on average" if self.has_mean else ""
        return f"latest {say(self.last)}, from {say(self.lowest)} to {say(self.highest)}{mean}"

    @property
    def values(self) -> tuple[str, str, str]:
        """What stands beside the plot, from above."""
        return self.scale.ticks(self.highest)

    @property
    def times(self) -> tuple[str, str, str]:
        """What stands below the plot, from the left."""
        end_s = time_end(self.points[-1][0])
        return "0 s", short_time(end_s / 2), short_time(end_s)

    @property
    def path(self) -> str:
        """The line, as the attribute `points` of an SVG polyline."""
        end_s, top = time_end(self.points[-1][0]), self.scale.end(self.highest)
        return " ".join(
            f"{at_s / end_s * WIDTH:.1f},{HEIGHT - min(value / top, 1.0) * HEIGHT:.1f}"
            for at_s, value in self.points
        )


def amount_end(highest: float) -> float:
    """Return the next of 1, 2, 4, 6, 10, 20 … above a number, or of the like of its power of ten."""
    if highest <= 0:
        return 1.0
    power = 1.0
    while highest > 10 * power:
        power *= 10
    while power > 1e-9 and highest <= power:
        power /= 10
    return power * next(nice for nice in (1, 2, 4, 6, 10) if nice * power >= highest or nice == 10)


def size_end(highest: float) -> float:
    """Return the next power of two above a number of bytes."""
    end = 2.0
    while end < highest:
        end *= 2
    return end


def time_end(last_s: float) -> float:
    """Return where the axis of time ends that shows so many seconds."""
    if last_s > NICE_TIMES_S[-1]:
        return DAY_S * amount_end(last_s / DAY_S)
    if last_s < 1:
        return amount_end(last_s)
    return next(nice_s for nice_s in NICE_TIMES_S if nice_s >= last_s)


def short_time(seconds: float) -> str:
    """Return a time as it stands at an axis: in one unit."""
    for unit_s, name in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:g} {name}"
    return f"{seconds:g} s" if seconds >= 1 or seconds == 0 else f"{seconds * 1000:g} ms"


def rates(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return how fast a counter grew between its samples, as steps; it never falls below 0.

    Samples that are too near to each other become one step: only a counter's grain would be seen of them.
    """
    steps = (
        (before_s, at_s, max(0.0, value - before) / (at_s - before_s))
        for (before_s, before), (at_s, value) in pairwise(apart(points))
        if at_s > before_s
    )
    return tuple(point for before_s, at_s, rate in steps for point in ((before_s, rate), (at_s, rate)))


def apart(points: Sequence[Point]) -> list[Point]:
    """Return the first point, the last one, and of those between as many as a plot shows apart."""
    kept = list(points[:1])
    for point in points[1:]:
        if point[0] - kept[-1][0] >= (points[-1][0] - points[0][0]) / MOST_STEPS:
            kept.append(point)
    return [*kept[: max(1, len(kept) - 1)], points[-1]] if points else []


AMOUNT: Final = Scale(words.number, amount_end)
SIZE: Final = Scale(human.size, size_end)
RATIO: Final = Scale(human.percent, lambda _highest: 1.0)
