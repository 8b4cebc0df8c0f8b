"""Say the same shape with fewer triangles: quadric edge collapse, mesh by mesh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import trimesh

from handlers.meshes.joining import colors_of, welded
from handlers.meshes.statistics import count_bodies
from worker import Fail

__all__ = ["decimated", "share_of"]

FEWEST: Final = 4  # triangles of a closed shape
MISSED_RATIO: Final = 1.1  # with so many more than asked for it is said


def share_of(count: int, target: int | None, ratio: float | None) -> float:
    """Return which share of the triangles shall be left.

    Raises:
        Fail: the wish is out of its range, or there are two.
    """
    if target is not None and ratio is not None:
        raise Fail("give triangles or ratio, not both")
    if target is not None and target < FEWEST:
        raise Fail(f"triangles must be {FEWEST} or more, not {target}")
    if ratio is not None and not 0 < ratio <= 1:
        raise Fail(f"ratio must be more than 0 and at most 1, not {ratio}")
    wish = ratio if target is None else target / count
    return 1.0 if wish is None else min(wish, 1.0)


def decimated(
    scene: trimesh.Scene, share: float, check: Callable[[], None]
) -> tuple[trimesh.Scene, list[str]]:
    """Return a scene whose meshes have such a share of their triangles, and what was lost.

    Points at exactly the same place are made one before, so that no seam opens. Materials without textures
    stay, colours of points are averaged over the points that became one; places in a texture are lost.
    """
    warnings: list[str] = []
    opened, textured, gone, before, after = 0, 0, 0, 0, 0
    for name, part in list(scene.geometry.items()):
        check()
        assert isinstance(part, trimesh.Trimesh)
        whole = welded(part)
        fewer = with_fewer(whole, max(FEWEST, round(len(part.faces) * share)))
        paint(fewer, part)
        before, after = before + len(part.faces), after + len(fewer.faces)
        opened += bool(whole.is_watertight and not fewer.is_watertight)
        gone += count_bodies(whole.faces) - count_bodies(fewer.faces)
        textured += has_texture(part)
        scene.geometry[name] = fewer
    if opened:
        warnings.append(f"{opened} mesh(es) that were closed are not any more")
    if gone > 0:
        warnings.append(f"{gone} small piece(s) are gone")
    if textured:
        warnings.append("textures are left out: points that move have no place in them")
    if after > MISSED_RATIO * max(before * share, FEWEST * len(scene.geometry)):
        said = "no more can be joined without tearing or turning the shape"
        warnings.append(f"{after:,} triangles are left of {before:,}: {said}")
    return scene, warnings


def with_fewer(mesh: trimesh.Trimesh, target: int) -> trimesh.Trimesh:
    """Return a welded mesh with about so many triangles; colours of points are averaged."""
    if len(mesh.faces) <= target:
        return mesh
    library = simplification()
    # Around the origin and of size one: errors are squared in there, and coordinates may be 1e25.
    middle, size = mesh.bounds.mean(axis=0), float(mesh.scale) or 1.0
    used, numbers = np.unique(mesh.faces, return_inverse=True)
    points = np.ascontiguousarray((mesh.vertices[used] - middle) / size)
    faces = np.ascontiguousarray(numbers.reshape(-1, 3), dtype=np.int32)
    fewer, kept, collapses = library.simplify(points, faces, target_count=target, return_collapses=True)
    if not len(kept):
        return mesh
    visual: Any = mesh.visual
    colors = None
    if visual.kind == "vertex":
        _, _, became = library.replay_simplification(points, faces, collapses)
        colors = averaged(visual.vertex_colors[used], became, len(fewer))
    return trimesh.Trimesh(fewer * size + middle, kept, vertex_colors=colors, process=False)


def averaged(colors: Any, became: Any, count: int) -> Any:
    """Return the mean colour of the points that became each of `count` points."""
    sums = np.zeros((count, 4))
    np.add.at(sums, became, colors)
    return np.round(sums / np.bincount(became, minlength=count)[:, None].clip(1)).astype(np.uint8)


def paint(mesh: trimesh.Trimesh, source: trimesh.Trimesh) -> None:
    """Give a mesh the material of another one, without its texture."""
    visual: Any = source.visual
    if visual.kind != "texture":
        return
    material: Any = visual.material.copy()
    if has_texture(source):
        material = trimesh.visual.material.PBRMaterial(baseColorFactor=colors_of(source))
    mesh.visual = trimesh.visual.TextureVisuals(material=material)


def has_texture(mesh: trimesh.Trimesh) -> bool:
    """Tell whether a mesh has an image on it."""
    material: Any = getattr(mesh.visual, "material", None)
    return any(getattr(material, key, None) is not None for key in ("baseColorTexture", "image"))


def simplification() -> Any:
    """Return the library that does it.

    Raises:
        Fail: it is not installed: the extra was, before it had this in it.
    """
    try:
        import fast_simplification  # noqa: PLC0415 - few tasks want fewer triangles
    except ImportError as exc:
        raise Fail("fewer triangles need fast-simplification: pip install 'millhand[mesh]'") from exc
    return fast_simplification
