"""Surfaces of triangles, built from rings of points.

Plain `math` on purpose: vectorised sines differ in the last bit between processors, and the
models must come out the same everywhere. Coordinates are rounded to hide what is left of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

__all__ = [
    "Color",
    "Point",
    "Surface",
    "circle",
    "cross",
    "dot",
    "loft",
    "minus",
    "outward",
    "plus",
    "polar",
    "scaled",
    "sweep",
    "tube",
    "unit",
]

Point = tuple[float, float, float]
Triangle = tuple[int, int, int]
Color = tuple[int, int, int, int]  # red, green, blue, alpha: 0…255


@dataclass(frozen=True)
class Surface:
    """Points and the triangles between them, counter-clockwise seen from outside."""

    points: list[Point]
    triangles: list[Triangle]
    colors: list[Color] = field(default_factory=list)  # one a point, or none


def circle(radius: float, count: int, z: float = 0.0) -> list[Point]:
    """Return `count` points around the z axis."""
    return [polar(radius, 2 * math.pi * i / count, z) for i in range(count)]


def polar(radius: float, angle: float, z: float) -> Point:
    """Return a point from cylinder coordinates (angle in radians)."""
    return (radius * math.cos(angle), radius * math.sin(angle), z)


def loft(rings: Sequence[Sequence[Point]], *, join: bool = False, twist: int = 0) -> Surface:
    """Stretch a skin over rings of equal length.

    With `join` the last ring meets the first, turned by `twist` points. A ring of one point is not
    allowed; cap an open end with `tube`.
    """
    count = len(rings[0])
    points = [point for ring in rings for point in ring]
    last = len(rings) if join else len(rings) - 1
    triangles: list[Triangle] = []
    for row in range(last):
        turn = twist if row == len(rings) - 1 else 0
        below, above = row * count, (row + 1) % len(rings) * count
        for i in range(count):
            a, b = below + i, below + (i + 1) % count
            d, c = above + (i + turn) % count, above + (i + 1 + turn) % count
            triangles += [(a, b, c), (a, c, d)]
    return Surface(points, triangles)


def tube(rings: Sequence[Sequence[Point]]) -> Surface:
    """Return a loft whose two open ends are closed with a fan of triangles."""
    skin, count = loft(rings), len(rings[0])
    points, triangles = list(skin.points), list(skin.triangles)
    for start, is_first in ((0, True), (len(skin.points) - count, False)):
        hub = len(points)
        points.append(middle(skin.points[start : start + count]))
        for i in range(count):
            a, b = start + i, start + (i + 1) % count
            triangles.append((b, a, hub) if is_first else (a, b, hub))
    return outward(Surface(points, triangles))


def middle(points: Sequence[Point]) -> Point:
    """Return the mean of points."""
    x, y, z = (math.fsum(axis) / len(points) for axis in zip(*points, strict=True))
    return (x, y, z)


def outward(surface: Surface) -> Surface:
    """Turn a closed surface so that its triangles face outside: its volume is then positive."""
    if volume(surface) >= 0:
        return surface
    return replace(surface, triangles=[(a, c, b) for a, b, c in surface.triangles])


def volume(surface: Surface) -> float:
    """Return the signed volume of a closed surface (divergence theorem)."""
    return math.fsum(
        dot(surface.points[a], cross(surface.points[b], surface.points[c])) / 6
        for a, b, c in surface.triangles
    )


def sweep(
    path: Callable[[float], Point], radius: float, steps: int, sides: int, *, closed: bool
) -> list[list[Point]]:
    """Return rings around a curve given for 0…1, each at right angles to it (no ring turns on its own)."""
    rings: list[list[Point]] = []
    across: Point = (0.0, 0.0, 1.0)
    for i in range(steps):
        at = i / steps if closed else i / (steps - 1)
        along = unit(minus(path(at + 1e-4), path(at - 1e-4)))
        across = unit(minus(across, scaled(along, dot(across, along))))
        other = cross(along, across)
        rings.append([around(path(at), across, other, radius, j / sides) for j in range(sides)])
    return rings


def around(center: Point, across: Point, other: Point, radius: float, turn: float) -> Point:
    """Return a point of a circle in the plane of two directions."""
    u, v = radius * math.cos(2 * math.pi * turn), radius * math.sin(2 * math.pi * turn)
    return plus(center, plus(scaled(across, u), scaled(other, v)))


def plus(a: Point, b: Point) -> Point:
    """Return a + b."""
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])


def minus(a: Point, b: Point) -> Point:
    """Return a - b."""
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def scaled(a: Point, factor: float) -> Point:
    """Return a vector of another length."""
    return (a[0] * factor, a[1] * factor, a[2] * factor)


def dot(a: Point, b: Point) -> float:
    """Return the scalar product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Point, b: Point) -> Point:
    """Return the vector product."""
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def unit(a: Point) -> Point:
    """Return the vector of length 1 in the same direction."""
    return scaled(a, 1 / math.sqrt(dot(a, a)))
