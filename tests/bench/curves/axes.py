"""Over what a curve goes, and how far, in each form of the measurement."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

__all__ = ["AXES", "Axis", "Extent"]

Extent = Literal["short", "usual", "long"]


class Axis(Struct, frozen=True, kw_only=True):
    """One axis; `about_s` is what a point of it takes on a quiet machine, `limit_s` when that is cut."""

    name: str
    label: str
    short: tuple[int, ...]
    usual: tuple[int, ...]
    about_s: float
    limit_s: float
    long: tuple[int, ...] = ()  # where that is more than the usual form
    is_at_once: bool = False  # all points are measured beside each other

    def points(self, extent: Extent) -> tuple[int, ...]:
        """Return the places at which it is measured."""
        return {"short": self.short, "usual": self.usual, "long": self.long or self.usual}[extent]

    def parts(self, extent: Extent) -> list[tuple[int, ...]]:
        """Return them in the parts that are measured one after the other."""
        points = self.points(extent)
        return [points] if self.is_at_once else [(point,) for point in points]


POWERS: Final = (1, 2, 4, 8, 16, 32, 64)
AXES: Final = (
    Axis(name="slots", label="slots of one agent", short=(1, 8), usual=POWERS, about_s=10, limit_s=60),
    Axis(
        name="agents",
        label="agents, each a process with one slot",
        short=(1, 4),
        usual=(1, 4, 16, 64),
        about_s=25,
        limit_s=120,
    ),
    Axis(
        name="pending",
        label="tasks that wait",
        short=(100, 1_000, 10_000),
        usual=(100, 1_000, 10_000, 100_000, 1_000_000),
        long=(100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000),
        about_s=40,
        limit_s=150,
        is_at_once=True,
    ),
    Axis(
        name="results",
        label="bytes of a result",
        short=(1_000, 100_000),
        usual=(1_000, 10_000, 100_000, 1_000_000, 10_000_000),
        about_s=14,
        limit_s=60,
    ),
    Axis(
        name="reports",
        label="reports a second of one run",
        short=(1, 100),
        usual=(1, 3, 10, 30, 100),
        about_s=10,
        limit_s=30,
    ),
)
