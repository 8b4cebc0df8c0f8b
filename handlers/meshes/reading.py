"""Read a file of meshes as a scene, or say what is wrong with it."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
import trimesh

from handlers.gltf.container import check_glb, check_gltf
from handlers.meshes.bounds import Bounds, check_counts, check_scene
from handlers.meshes.joining import joined, welded
from handlers.meshes.threemf import read_3mf
from handlers.meshes.units import FILE_UNITS
from handlers.meshes.wants import check_beside, check_compressions, check_sizes, warnings_of
from worker import Fail

__all__ = ["INPUTS", "Model", "check_format", "read_model"]

INPUTS = ("glb", "gltf", "obj", "stl", "ply", "off", "3mf")
MAX_REASON_CHARS = 300
MAX_COORDINATE = 1e25  # single precision ends at 3e38; areas and volumes must not overflow


class Model(NamedTuple):
    """A scene, what of the file it does not carry, and the unit that the file is in, where it is known."""

    scene: trimesh.Scene
    warnings: list[str]
    unit: str | None = None
    triangles: int = 0  # where its nodes place them


def check_format(name: str) -> str:
    """Return the format of a file by its name; raise Fail where it is none of those that can be read."""
    ending = Path(name).suffix.lower().removeprefix(".")
    if ending not in INPUTS:
        said = f"ends in .{ending}" if ending else "has no ending"
        raise Fail(f"{name} {said}; the formats that can be read are {', '.join(INPUTS)}")
    return ending


def read_model(path: Path, name: str, bounds: Bounds) -> Model:
    """Read a file; the scene holds at least one triangle, and its numbers are sound.

    Raises:
        Fail: the file is broken, empty, too large, or holds no triangles; the message names it and what is
            wrong.
    """
    kind = check_format(name)
    if path.stat().st_size == 0:
        raise Fail(f"{name} is empty: it has 0 bytes")
    check_counts(path, kind, name, bounds)
    unit = FILE_UNITS.get(kind)
    if kind == "3mf":
        scene, unit, warnings = read_3mf(path, name, bounds)
        placed: set[Hashable] = set(scene.geometry)
    else:
        warnings = check_description(path, kind, name, bounds) if kind in ("glb", "gltf") else []
        scene, placed = load(path, kind, name)
    warnings += drop_all_but_triangles(scene, placed, name)
    triangles = check_scene(scene, name, bounds)
    for geometry in scene.geometry.values():
        assert isinstance(geometry, trimesh.Trimesh)
        check_numbers(geometry, name)
    check_places(scene, name)
    if kind == "stl":  # the format cannot say that triangles share points
        scene = trimesh.Scene(welded(joined(scene)))
    return Model(scene, warnings, unit, triangles)


class Beside(trimesh.resolvers.FilePathResolver):
    """Files that a file names: those of its folder and below, and no others; addresses may be escaped."""

    def get(self, name: str) -> Any:
        """Return what such a file holds."""
        read: Any = super().get  # without type information
        return read(unquote(name))


def check_description(path: Path, kind: str, name: str, bounds: Bounds) -> list[str]:
    """Check what a GLB or glTF file says of itself; return what will not be carried over."""
    description = check_glb(path, name) if kind == "glb" else check_gltf(path, name)
    check_compressions(description, name)
    check_sizes(description, name, bounds)
    if kind == "gltf":
        check_beside(description, path, name)
    return warnings_of(description)


def load(path: Path, kind: str, name: str) -> tuple[trimesh.Scene, set[Hashable]]:
    """Let trimesh read the file, and find which parts have a place in the scene.

    Raises:
        Fail: it cannot; whatever trimesh raises is said as one sentence.
    """
    try:
        # Without processing, faces and numbers stay as they are in the file.
        scene = trimesh.load_scene(str(path), file_type=kind, resolver=Beside(str(path)), process=False)
        return scene, {scene.graph[node][1] for node in scene.graph.nodes_geometry}
    except Exception as exc:  # a broken file can raise anything in there
        reason = " ".join(str(exc).split())[:MAX_REASON_CHARS] or "no reason was given"
        raise Fail(f"{name} cannot be read as {kind.upper()}: {reason} ({type(exc).__name__})") from exc


def drop_all_but_triangles(scene: trimesh.Scene, placed: set[Hashable], name: str) -> list[str]:
    """Keep the meshes that are placed in the scene; say what was dropped, or fail where nothing is left."""
    kept = {
        key
        for key, geometry in scene.geometry.items()
        if key in placed and isinstance(geometry, trimesh.Trimesh) and len(geometry.faces)
    }
    dropped = [key for key in scene.geometry if key not in kept]
    left_out = f"{len(dropped)} part(s) without triangles or without a place in the scene"
    if not kept:
        raise Fail(f"{name} holds no mesh: it has nothing" + (f" but {left_out}" if dropped else " in it"))
    scene.delete_geometry(dropped)
    return [f"left out: {left_out}"] if dropped else []


def check_places(scene: trimesh.Scene, name: str) -> None:
    """Refuse a scene whose nodes put a mesh nowhere, or so far away that numbers end."""
    try:
        bounds = scene.bounds
    except ValueError as exc:  # a transform that is no matrix
        raise Fail(f"{name} is damaged: the place of one of its meshes cannot be read ({exc})") from exc
    if bounds is None or not np.isfinite(bounds).all() or np.abs(bounds).max() > MAX_COORDINATE:
        raise Fail(f"{name} is damaged: one of its meshes lies beyond {MAX_COORDINATE:g}")


def check_numbers(mesh: trimesh.Trimesh, name: str) -> None:
    """Refuse coordinates that are no numbers, and triangles between points that do not exist."""
    if not np.isfinite(mesh.vertices).all():
        raise Fail(f"{name} is damaged: some of its coordinates are infinite or no numbers")
    if mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.vertices):
        raise Fail(f"{name} is damaged: some of its triangles use points that do not exist")
