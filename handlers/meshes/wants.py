"""What a glTF file needs that trimesh cannot give it, and what will not be carried over."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from handlers.gltf.container import list_of
from handlers.meshes.bounds import Bounds
from worker import Fail

__all__ = ["check_beside", "check_compressions", "check_sizes", "warnings_of"]

COMPRESSIONS: Final = {  # packages that trimesh would need, or None where it cannot read it at all
    "KHR_draco_mesh_compression": "DracoPy",
    "EXT_meshopt_compression": None,
    "KHR_meshopt_compression": None,
}


def check_beside(description: dict[str, Any], path: Path, name: str) -> None:
    """Raise Fail where a glTF names files that are not beside it."""
    for buffer in list_of(description, "buffers"):
        uri = buffer.get("uri")
        if isinstance(uri, str) and not uri.startswith("data:") and not is_beside(path, uri):
            raise Fail(
                f"{name} needs the file {uri[:200]!r} beside it, which is not there; pack both into a GLB"
            )


def is_beside(path: Path, uri: str) -> bool:
    """Tell whether an address is that of a file in the folder of another one, or below."""
    beside = (path.parent / unquote(uri)).resolve()
    return beside.is_relative_to(path.parent.resolve()) and beside.is_file()


def check_sizes(description: dict[str, Any], name: str, bounds: Bounds) -> None:
    """Raise Fail where an array is longer than allowed: one may be long without bytes."""
    for accessor in list_of(description, "accessors"):
        count = accessor.get("count")
        if isinstance(count, int):
            bounds.points(count, name)


def check_compressions(description: dict[str, Any], name: str) -> None:
    """Raise Fail where a description needs a compression that cannot be read here."""
    required = description.get("extensionsRequired") or []
    for extension in required if isinstance(required, list) else []:
        package = COMPRESSIONS.get(extension, "") if isinstance(extension, str) else ""
        if package is None or (package and importlib.util.find_spec(package) is None):
            raise Fail(f"{name} is compressed with {extension}, which cannot be read here; export it without")


def warnings_of(description: dict[str, Any]) -> list[str]:
    """Return what of a file will not be carried over."""
    warnings = []
    if list_of(description, "images") and importlib.util.find_spec("PIL") is None:
        warnings.append("textures are left out: Pillow is not installed on this worker")
    if list_of(description, "animations"):
        warnings.append("animations are left out: only the scene as it stands is converted")
    if list_of(description, "skins"):
        warnings.append("skins are left out: the mesh is converted as it was bound")
    return warnings
