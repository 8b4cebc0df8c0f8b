"""Join every mesh of a scene, where its nodes place it, to a single one."""

from __future__ import annotations

from typing import Any

import numpy as np
import trimesh

__all__ = ["colors_of", "joined", "merged", "welded"]

GREY = (204, 204, 204, 255)  # of parts without a colour, beside parts that have one


def joined(scene: trimesh.Scene) -> trimesh.Trimesh:
    """Return one mesh in the scene's coordinates, with a colour at each vertex if any part has colours.

    Done by hand, because trimesh would pack materials into a texture, for which it needs Pillow.
    """
    parts = [part for part in scene.dump() if isinstance(part, trimesh.Trimesh)]
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    colors = [colors_of(part) for part in parts]
    return trimesh.Trimesh(
        vertices=np.vstack([part.vertices for part in parts]),
        faces=np.vstack([part.faces + start for part, start in zip(parts, starts, strict=False)]),
        vertex_colors=None if all(color is None for color in colors) else stacked(parts, colors),
        process=False,
    )


def merged(scene: trimesh.Scene) -> trimesh.Scene:
    """Return a scene of one mesh, with points at exactly the same place made one."""
    return trimesh.Scene(welded(joined(scene)))


def stacked(parts: list[trimesh.Trimesh], colors: list[Any]) -> Any:
    """Return a colour for every vertex of all parts."""
    return np.vstack(
        [
            np.broadcast_to(
                np.asarray(GREY if color is None else color, dtype=np.uint8), (len(part.vertices), 4)
            )
            for part, color in zip(parts, colors, strict=True)
        ]
    )


def colors_of(part: trimesh.Trimesh) -> Any:
    """Return the colours of a part: one a vertex, or one for all of it; None where it has none."""
    visual: Any = part.visual
    if visual.kind in ("vertex", "face"):
        return visual.vertex_colors
    return visual.material.main_color if visual.kind == "texture" else None


def welded(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """Return the mesh with points at exactly the same place made one, whatever their colour.

    Files split points along edges of colour or texture; the shape knows nothing of that. Exactly, because
    a tolerance would be too coarse for small models and too fine for large ones. No face is dropped, and
    the first of equal points stays, in its order.
    """
    kept, numbers = first_of_equal(mesh.vertices)
    visual: Any = mesh.visual
    colors = visual.vertex_colors if visual.kind == "vertex" else None
    return trimesh.Trimesh(
        vertices=mesh.vertices[kept],
        faces=numbers[mesh.faces],
        vertex_colors=None if colors is None else colors[kept],
        process=False,
    )


def first_of_equal(points: Any) -> tuple[Any, Any]:
    """Return which points to keep, and for every point the number of the one that is kept for it."""
    order = np.lexsort(points.T)  # stable: among equal points the first comes first
    is_first = np.append(True, (points[order][1:] != points[order][:-1]).any(axis=1))
    firsts = order[is_first]
    numbers = np.empty(len(points), dtype=np.int64)
    numbers[order] = np.argsort(np.argsort(firsts))[np.cumsum(is_first) - 1]
    return np.sort(firsts), numbers
