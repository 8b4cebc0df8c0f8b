"""Write a scene as STL, PLY, OBJ or GLB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import trimesh

from handlers.meshes.joining import joined
from worker import Fail

__all__ = ["OUTPUTS", "output_name", "write_model"]

Files = dict[str, bytes]  # by name


def stl(scene: trimesh.Scene, name: str) -> Files:
    """One mesh, binary; STL knows no colours."""
    return {name: as_bytes(joined(scene).export(file_type="stl"))}


def ply(scene: trimesh.Scene, name: str) -> Files:
    """One mesh, binary, with a colour at each vertex."""
    return {name: as_bytes(joined(scene).export(file_type="ply"))}


def obj(scene: trimesh.Scene, name: str) -> Files:
    """Every mesh at its place, with materials and textures in files beside it."""
    export: Any = trimesh.exchange.obj.export_obj  # without type information
    library = f"{Path(name).stem}.mtl"
    text, beside = export(scene, include_normals=False, return_texture=True, mtl_name=library, header=None)
    return {name: as_bytes(text)} | {key: as_bytes(content) for key, content in beside.items()}


def glb(scene: trimesh.Scene, name: str) -> Files:
    """The scene with its nodes, instances and materials."""
    export: Any = trimesh.exchange.gltf.export_glb  # without type information
    return {name: as_bytes(export(scene, include_normals=False))}


OUTPUTS: dict[str, Callable[[trimesh.Scene, str], Files]] = {"stl": stl, "ply": ply, "obj": obj, "glb": glb}
CONTENT_TYPES = {"stl": "model/stl", "ply": "model/ply", "obj": "model/obj", "glb": "model/gltf-binary"}


def as_bytes(content: Any) -> bytes:
    """Return what an exporter made as bytes."""
    return content.encode() if isinstance(content, str) else bytes(content)


def output_name(wanted: str | None, source: str, format_: str) -> str:
    """Return the output's file name: as wanted, else after the input, with the ending of its format.

    Raises:
        Fail: it is no plain name, or ends like another format.
    """
    name = f"{Path(source).stem}.{format_}" if wanted is None else wanted
    ending = Path(name).suffix.lower().removeprefix(".")
    if not name.isprintable() or "/" in name or "\\" in name or name in ("", ".", "..") or len(name) > 200:
        raise Fail(f"output {name[:60]!r} must be a plain file name of at most 200 characters")
    if ending in {*OUTPUTS, "gltf"} - {format_}:
        raise Fail(f"output {name!r} ends in .{ending}, but the format is {format_}; change one of them")
    return name if ending == format_ else f"{name}.{format_}"


def write_model(scene: trimesh.Scene, format_: str, name: str, folder: Path) -> list[Path]:
    """Write the scene into a folder; return the paths, that of the mesh first."""
    paths = []
    for file_name, content in OUTPUTS[format_](scene, name).items():
        path = folder / Path(file_name).name
        path.write_bytes(content)
        paths.append(path)
    return paths
