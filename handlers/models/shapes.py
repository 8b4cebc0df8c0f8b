"""The shapes of the sample models."""

from __future__ import annotations

import math
from itertools import product

from handlers.models.surface import (
    Color,
    Point,
    Surface,
    Triangle,
    circle,
    loft,
    outward,
    plus,
    polar,
    scaled,
    sweep,
    tube,
    unit,
)

__all__ = [
    "bolt", "gear", "icosphere", "lattice", "moebius", "spring", "terrain", "torus", "torus_knot", "turned",
    "vase",
]  # fmt: skip

Cell = tuple[int, int, int]


def torus_knot(p: int = 2, q: int = 3, steps: int = 150, sides: int = 9) -> Surface:
    """Return a closed tube along the (p, q) torus knot."""

    def path(at: float) -> Point:
        turn = 2 * math.pi * at
        return polar(2 + math.cos(q * turn), p * turn, -math.sin(q * turn))

    rings = sweep(path, 0.45, steps, sides, closed=True)
    return outward(loft(rings, join=True, twist=nearest(rings[-1], rings[0])))


def nearest(last: list[Point], first: list[Point]) -> int:
    """Return by how many points the first ring is turned against the last."""
    return min(range(len(first)), key=lambda turn: math.dist(last[0], first[turn]))


def torus(radius: float, thickness: float, steps: int = 48, sides: int = 12) -> Surface:
    """Return a ring around the z axis."""

    def path(at: float) -> Point:
        return polar(radius, 2 * math.pi * at, 0.0)

    return outward(loft(sweep(path, thickness, steps, sides, closed=True), join=True))


def gear(teeth: int = 24, bore: float = 0.35, width: float = 0.4) -> Surface:
    """Return a spur gear with a bore: four rings joined to a loop."""
    profile = (0.86, 0.86, 0.90, 1.0, 1.0, 0.90)  # radius over one tooth: root, flank, tip, flank
    count = teeth * len(profile)

    def outline(z: float) -> list[Point]:
        return [polar(profile[i % len(profile)], 2 * math.pi * i / count, z) for i in range(count)]

    rings = [outline(0.0), outline(width), circle(bore, count, width), circle(bore, count, 0.0)]
    return outward(loft(rings, join=True))


def icosphere(subdivisions: int = 3, radius: float = 1.0) -> Surface:
    """Return a sphere from an icosahedron whose triangles are split in four, again and again."""
    g = (1 + math.sqrt(5)) / 2
    corners: list[Point] = [(-1, g, 0), (1, g, 0), (-1, -g, 0), (1, -g, 0)]
    corners += [(0, -1, g), (0, 1, g), (0, -1, -g), (0, 1, -g)]
    corners += [(g, 0, -1), (g, 0, 1), (-g, 0, -1), (-g, 0, 1)]
    points = [unit(corner) for corner in corners]
    triangles: list[Triangle] = [
        (0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11),
        (1, 5, 9), (5, 11, 4), (11, 10, 2), (10, 7, 6), (7, 1, 8),
        (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9),
        (4, 9, 5), (2, 4, 11), (6, 2, 10), (8, 6, 7), (9, 8, 1),
    ]  # fmt: skip
    for _ in range(subdivisions):
        triangles = split(points, triangles)
    return Surface([scaled(point, radius) for point in points], triangles)


def split(points: list[Point], triangles: list[Triangle]) -> list[Triangle]:
    """Split each triangle in four; new points are appended on the unit sphere."""
    halves: dict[tuple[int, int], int] = {}

    def half(a: int, b: int) -> int:
        edge = (min(a, b), max(a, b))
        if edge not in halves:
            halves[edge] = len(points)
            points.append(unit(plus(points[a], points[b])))
        return halves[edge]

    finer: list[Triangle] = []
    for a, b, c in triangles:
        ab, bc, ca = half(a, b), half(b, c), half(c, a)
        finer += [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    return finer


def moebius(steps: int = 96, across: int = 7) -> Surface:
    """Return a Möbius strip: one side, one edge, no volume."""

    def point(i: int, j: int) -> Point:
        turn, offset = 2 * math.pi * i / steps, (j / (across - 1) - 0.5) * 0.9
        reach = 1 + offset * math.cos(turn / 2)
        return (reach * math.cos(turn), reach * math.sin(turn), offset * math.sin(turn / 2))

    points = [point(i, j) for i in range(steps) for j in range(across)]
    triangles: list[Triangle] = []
    for i, j in product(range(steps), range(across - 1)):
        a, b = i * across + j, i * across + j + 1
        if i + 1 < steps:
            d, c = a + across, b + across
        else:  # the strip comes back upside down
            d, c = across - 1 - j, across - 2 - j
        triangles += [(a, b, c), (a, c, d)]
    return Surface(points, triangles)


def spring(turns: int = 6, steps: int = 150, sides: int = 8) -> Surface:
    """Return a coil spring with closed ends."""

    def path(at: float) -> Point:
        return polar(0.6, 2 * math.pi * turns * at, 2.4 * at)

    return tube(sweep(path, 0.09, steps, sides, closed=False))


def turned(profile: list[tuple[float, float]], sides: int = 32) -> Surface:
    """Return a solid of revolution from (radius, z) pairs; its two ends are closed."""
    return tube([circle(radius, sides, z) for radius, z in profile])


def vase(sides: int = 40, rows: int = 18) -> Surface:
    """Return a fluted vase with a wall and a bottom: up on the outside, down on the inside."""
    heights = [row / (rows - 1) for row in range(rows)]
    outside = [fluted(vase_radius(h), 2.2 * h, sides) for h in heights]
    inside = [fluted(vase_radius(h) - 0.06, max(2.2 * h, 0.08), sides) for h in reversed(heights[1:])]
    return tube(outside + inside)


def vase_radius(height: float) -> float:
    """Return the radius of the vase at a height of 0…1: foot, belly, neck, lip."""
    return 0.55 + 0.28 * math.sin(1.1 + 4.6 * height) + 0.12 * height**6


def fluted(radius: float, z: float, sides: int) -> list[Point]:
    """Return a ring with ten shallow flutes."""
    turns = [2 * math.pi * i / sides for i in range(sides)]
    return [polar(radius * (1 + 0.02 * math.cos(10 * turn)), turn, z) for turn in turns]


def terrain(size: int = 36) -> Surface:
    """Return a coloured landscape: an open height field of waves on waves."""
    cells = [(i / (size - 1), j / (size - 1)) for j in range(size) for i in range(size)]
    heights = [max(0.0, elevation(x, y)) for x, y in cells]  # the sea is flat
    points = [(4 * x - 2, 4 * y - 2, 0.9 * height) for (x, y), height in zip(cells, heights, strict=True)]
    triangles: list[Triangle] = []
    for j, i in product(range(size - 1), range(size - 1)):
        a = j * size + i
        triangles += [(a, a + 1, a + size + 1), (a, a + size + 1, a + size)]
    return Surface(points, triangles, [ground(height) for height in heights])


def elevation(x: float, y: float) -> float:
    """Return the height at a place of the unit square: five octaves of waves, lower at the rim."""
    octaves = (
        math.sin(2.1 * 1.9**k * (x + 0.31 * k) + 1.3 * k) * math.cos(2.4 * 1.9**k * (y - 0.17 * k)) / 1.8**k
        for k in range(5)
    )
    return (math.fsum(octaves) + 0.25) * math.sin(math.pi * x) * math.sin(math.pi * y)


def ground(height: float) -> Color:
    """Return the colour of the ground at a height."""
    bands: tuple[tuple[float, Color], ...] = (
        (0.001, (38, 92, 150, 255)),
        (0.06, (214, 196, 140, 255)),
        (0.40, (86, 132, 66, 255)),
        (0.75, (116, 104, 92, 255)),
    )
    return next((color for top, color in bands if height < top), (240, 244, 248, 255))


def lattice(level: int = 2) -> Surface:
    """Return a Menger sponge: a cube with holes in its holes, every outer square as two triangles."""
    size: int = 3**level
    solid = {cell for cell in product(range(size), repeat=3) if not is_hollow(cell)}
    numbers: dict[Cell, int] = {}
    triangles: list[Triangle] = []
    for cell, axis, step in product(sorted(solid), range(3), (-1, 1)):
        if moved(cell, axis, step) not in solid:
            a, b, c, d = (numbers.setdefault(corner, len(numbers)) for corner in square(cell, axis, step))
            triangles += [(a, b, c), (a, c, d)]
    points = [(2 * x / size - 1, 2 * y / size - 1, 2 * z / size - 1) for x, y, z in numbers]
    return Surface(points, triangles)


def is_hollow(cell: tuple[int, ...]) -> bool:
    """Tell whether the sponge has a hole here: two or three coordinates in the middle third, at any scale."""
    while any(cell):
        if sum(c % 3 == 1 for c in cell) >= 2:
            return True
        cell = tuple(c // 3 for c in cell)
    return False


def moved(cell: tuple[int, ...], axis: int, step: int) -> Cell:
    """Return the neighbour of a cell."""
    x, y, z = (c + step * (i == axis) for i, c in enumerate(cell))
    return (x, y, z)


def square(cell: tuple[int, ...], axis: int, step: int) -> list[Cell]:
    """Return the corners of one side of a cell, counter-clockwise seen from outside."""
    first = moved(cell, axis, 1) if step > 0 else moved(cell, axis, 0)
    u, v = (axis + 1) % 3, (axis + 2) % 3
    corners = [first, moved(first, u, 1), moved(moved(first, u, 1), v, 1), moved(first, v, 1)]
    return corners if step > 0 else corners[::-1]


def bolt(sides: int = 24, rows: int = 57) -> Surface:
    """Return a hexagon bolt with a thread: rings all the way, so that it is one closed body."""
    rings = [thread_ring(row / (rows - 1), sides) for row in range(rows)]
    rings += [hexagon(0.48, 2.0, sides), hexagon(0.5, 2.03, sides), hexagon(0.5, 2.35, sides)]
    rings += [circle(0.44, sides, 2.4)]
    return tube(rings)


def thread_ring(at: float, sides: int) -> list[Point]:
    """Return a ring of the shank: the thread runs out towards both ends."""
    depth = 0.05 * min(1.0, at / 0.06, max(0.0, (0.72 - at) / 0.06))
    turns = [i / sides for i in range(sides)]
    return [polar(0.26 + depth * ridge(14 * at - turn), 2 * math.pi * turn, 2 * at) for turn in turns]


def ridge(phase: float) -> float:
    """Return a triangle wave between -1 and 1."""
    return 4 * abs(phase % 1.0 - 0.5) - 1


def hexagon(inner_radius: float, z: float, sides: int) -> list[Point]:
    """Return a hexagon, sampled at equal angles; its corners are among the samples if 12 divides `sides`."""
    sixth = math.pi / 3
    turns = [2 * math.pi * i / sides for i in range(sides)]
    return [polar(inner_radius / math.cos((turn + sixth / 2) % sixth - sixth / 2), turn, z) for turn in turns]
