"""Read a file of meshes as a scene, or say what is wrong with it."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import trimesh

from handlers.meshes.container import check_glb, check_gltf, warnings_of
from handlers.meshes.joining import joined, welded
from worker import Fail

__all__ = ["INPUTS", "Model", "check_format", "read_model"]

INPUTS = ("glb", "gltf", "obj", "stl", "ply")
MAX_REASON_CHARS = 300
MAX_COORDINATE = 1e25  # single precision ends at 3e38; areas and volumes must not overflow


class Model(NamedTuple):
    """A scene, and what of the file it does not carry."""

    scene: trimesh.Scene
    warnings: list[str]


def check_format(name: str) -> str:
    """Return the format of a file by its name; raise Fail where it is none of those that can be read."""
    ending = Path(name).suffix.lower().removeprefix(".")
    if ending not in INPUTS:
        said = f"ends in .{ending}" if ending else "has no ending"
        raise Fail(f"{name} {said}; the formats that can be read are {', '.join(INPUTS)}")
    return ending


def read_model(path: Path, name: str) -> Model:
    """Read a file; the scene holds at least one triangle, and its numbers are sound.

    Raises:
        Fail: the file is broken, empty, or holds no triangles; the message names it and what is wrong.
    """
    kind = check_format(name)
    if path.stat().st_size == 0:
        raise Fail(f"{name} is empty: it has 0 bytes")
    checks = {"glb": check_glb, "gltf": check_gltf}
    warnings = warnings_of(checks[kind](path, name)) if kind in checks else []
    scene, placed = load(path, kind, name)
    warnings += drop_all_but_triangles(scene, placed, name)
    for geometry in scene.geometry.values():
        assert isinstance(geometry, trimesh.Trimesh)
        check_numbers(geometry, name)
    check_places(scene, name)
    if kind == "stl":  # the format cannot say that triangles share points
        scene = trimesh.Scene(welded(joined(scene)))
    return Model(scene, warnings)


def load(path: Path, kind: str, name: str) -> tuple[trimesh.Scene, set[Hashable]]:
    """Let trimesh read the file, and find which parts have a place in the scene.

    Raises:
        Fail: it cannot; whatever trimesh raises is said as one sentence.
    """
    try:
        # Without processing, faces and numbers stay as they are in the file.
        scene = trimesh.load_scene(str(path), file_type=kind, process=False)
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
