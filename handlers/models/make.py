"""Make the sample models: ``python -m handlers.models.make [FOLDER]``.

The same bytes come out on every machine; a test makes them again and compares.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

from handlers.models import BROKEN, folder, shapes
from handlers.models.glb import Document
from handlers.models.surface import Surface, circle, loft, outward

__all__ = ["make_all", "write_all"]

STEEL, BRASS, CLAY, TEAL = (0.42, 0.45, 0.50), (0.72, 0.50, 0.16), (0.62, 0.26, 0.14), (0.05, 0.42, 0.44)
IVORY, PLUM, SUN = (0.86, 0.80, 0.66), (0.36, 0.12, 0.34), (0.95, 0.70, 0.15)


def write_all(target: Path) -> list[Path]:
    """Write every model into a folder and return their paths."""
    written = []
    for name, content in make_all().items():
        (target / name).write_bytes(content)
        written.append(target / name)
    return written


def make_all() -> dict[str, bytes]:
    """Return every model by file name."""
    files = {
        "bolt.glb": single("bolt", shapes.bolt, STEEL, metallic=1.0),
        "gear.glb": single("gear", shapes.gear, BRASS, metallic=1.0),
        "icosphere.glb": single("icosphere", shapes.icosphere, TEAL),
        "lamp.glb": lamp(),
        "lattice.glb": single("lattice", shapes.lattice, IVORY),
        "moebius.glb": single("moebius", shapes.moebius, PLUM),
        "orrery.glb": orrery(),
        "spring.glb": single("spring", shapes.spring, STEEL, metallic=1.0),
        "terrain.glb": bare("terrain", shapes.terrain()),
        "torus-knot.glb": single("torus-knot", shapes.torus_knot, TEAL),
        "vase.glb": single("vase", shapes.vase, CLAY),
    }
    return files | {BROKEN: cut_off(files["gear.glb"])}


def single(
    name: str, shape: Callable[[], Surface], color: tuple[float, float, float], metallic: float = 0.0
) -> bytes:
    """Return a file of one body in one colour, with y up as glTF wants it."""
    document = Document()
    material = document.material(name, color, metallic=metallic)
    mesh = document.mesh(name, (shape(), material))
    return document.to_bytes([document.node(name, mesh, rotation=upright())])


def bare(name: str, surface: Surface) -> bytes:
    """Return a file without a material: the colours are those of the points."""
    document = Document()
    return document.to_bytes([document.node(name, document.mesh(name, (surface, None)), rotation=upright())])


def lamp() -> bytes:
    """Return one mesh of three primitives, each with its own material, and a second mesh on it."""
    document = Document()
    foot = shapes.turned([(0.5, 0.0), (0.5, 0.06), (0.42, 0.1), (0.12, 0.14)])
    stem = shapes.turned([(0.05, 0.1), (0.05, 0.7), (0.09, 0.75), (0.05, 0.8), (0.05, 1.5)], sides=16)
    edges = ((0.7, 1.3), (0.4, 2.0), (0.38, 2.0), (0.68, 1.3))  # outside up, inside down: open like a funnel
    shade = outward(loft([circle(radius, 40, z) for radius, z in edges], join=True))
    parts = (
        (foot, document.material("foot", PLUM)),
        (stem, document.material("stem", BRASS, metallic=1.0, rough=0.3)),
        (shade, document.material("shade", IVORY, rough=0.9)),
    )
    stand = document.mesh("stand", *parts)
    bulb = document.mesh("bulb", (shapes.icosphere(2, 0.14), document.material("bulb", SUN)))
    node = document.node("bulb", bulb, translation=[0.0, 0.0, 1.6])
    return document.to_bytes([document.node("lamp", stand, rotation=upright(), children=[node])])


def orrery() -> bytes:
    """Return a scene: one sphere used five times, nested turns and scales, a matrix, a mirror image."""
    document = Document()
    ball = document.mesh("ball", (shapes.icosphere(2), document.material("ball", SUN, rough=0.4)))
    ring = document.mesh("ring", (shapes.torus(1.6, 0.08), document.material("ring", BRASS, metallic=1.0)))
    wheel = document.mesh("wheel", (shapes.gear(12, 0.2), document.material("wheel", STEEL, metallic=1.0)))
    moon = document.node("moon", ball, translation=[2.0, 0.0, 0.0], scale=[0.3, 0.3, 0.3])
    arm = document.node("arm", children=[moon], rotation=turn(2, 40.0))
    planet = document.node("planet", ball, translation=[4.0, 0.0, 0.0], scale=[0.5] * 3, children=[arm])
    band = document.node("band", ring, rotation=turn(0, 20.0), scale=[0.9, 0.9, 0.4])
    saturn = document.node("saturn", ball, translation=[-5.0, 2.0, 0.5], scale=[0.8] * 3, children=[band])
    far = document.node("far", ball, matrix=[0.4, 0, 0, 0, 0, 0.4, 0, 0, 0, 0, 0.4, 0, 1.5, -6.0, 0.0, 1.0])
    mirrored = document.node("mirrored", wheel, translation=[0.0, 0.0, -1.6], scale=[-1.2, 1.2, 1.2])
    sun = document.node("sun", ball, children=[planet, saturn, far, mirrored])
    return document.to_bytes([document.node("orrery", children=[sun], rotation=upright())])


def upright() -> list[float]:
    """Return the rotation that takes z up to y up."""
    return turn(0, -90.0)


def turn(axis: int, degrees: float) -> list[float]:
    """Return a rotation about one axis as a quaternion (x, y, z, w)."""
    half = math.radians(degrees) / 2
    return [round(math.sin(half), 7) * (axis == i) for i in range(3)] + [round(math.cos(half), 7)]


def cut_off(content: bytes) -> bytes:
    """Return a file that ends in the middle of its binary chunk, as after a download that broke off."""
    return content[: len(content) * 3 // 5]


if __name__ == "__main__":
    for made in write_all(Path(sys.argv[1]) if len(sys.argv) > 1 else folder()):
        sys.stdout.write(f"{made.stat().st_size:8,} bytes  {made.name}\n")
