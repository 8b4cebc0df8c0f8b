"""What a glTF file needs that trimesh cannot give it, and what will not be carried over."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from handlers.gltf.accessors import accessor_bytes, count_of
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
    """Raise Fail where the arrays are longer than allowed, one of them or all together.

    An array may be long without bytes, many may share the same bytes, and each use of one is a copy.
    """
    accessors = list_of(description, "accessors")
    for accessor in accessors:
        bounds.points(count_of(accessor), name)
    uses = [use for mesh in list_of(description, "meshes") for use in uses_of(mesh, len(accessors))]
    bounds.points(sum(count_of(accessors[at]) for key, at in uses if key == "POSITION"), name)
    size_bytes = max(
        sum(map(accessor_bytes, accessors)), sum(accessor_bytes(accessors[at]) for _, at in uses)
    )
    if size_bytes > bounds.max_bytes:
        raise Fail(
            f"{name} describes {size_bytes:,} bytes of geometry; max_bytes allows {bounds.max_bytes:,}"
        )


def uses_of(mesh: dict[str, Any], known: int) -> Iterator[tuple[str, int]]:
    """Yield what each primitive of a mesh uses an accessor for, and which."""
    for primitive in list_of(mesh, "primitives"):
        attributes = primitive.get("attributes")
        given = attributes if isinstance(attributes, dict) else {}
        for key, at in (*given.items(), ("indices", primitive.get("indices"))):
            if isinstance(at, int) and -known <= at < known:  # below 0, trimesh counts from the end
                yield key, at


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
