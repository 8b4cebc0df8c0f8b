"""How much there is to draw, counted from a model's description alone."""

from __future__ import annotations

from typing import Any, Final

from handlers.gltf.accessors import accessor_bytes, count_of, whole
from handlers.gltf.container import list_of
from worker import Fail

__all__ = ["MESHOPT", "check_weight"]

MESHOPT: Final = ("EXT_meshopt_compression", "KHR_meshopt_compression")
MAX_TRIANGLES: Final = 10_000_000  # drawn, instances counted each; in software half a million take seconds
MAX_GEOMETRY_BYTES: Final = 1 << 30  # of all accessors, unpacked
MAX_NODES: Final = 100_000
TRIANGLES, STRIP, FAN = 4, 5, 6  # glTF 2.0, 5.24.4: primitive.mode


def check_weight(description: dict[str, Any], name: str) -> None:
    """Raise Fail where a model has more than can be drawn, or its nodes are no trees."""
    accessors = list_of(description, "accessors")
    size_bytes = sum(map(accessor_bytes, accessors)) + sum(
        map(unpacked_bytes, list_of(description, "bufferViews"))
    )
    if size_bytes > MAX_GEOMETRY_BYTES:
        raise Fail(f"{name} describes {size_bytes:,} bytes of geometry; {MAX_GEOMETRY_BYTES:,} are the limit")
    triangles = drawn_triangles(description, name)
    if triangles > MAX_TRIANGLES:
        raise Fail(f"{name} has {triangles:,} triangles to draw; {MAX_TRIANGLES:,} are the limit")


def unpacked_bytes(view: dict[str, Any]) -> int:
    """Return the size of a compressed part of a buffer once it is unpacked; 0 where it is not compressed."""
    extensions = view.get("extensions")
    found = [extensions.get(name) for name in MESHOPT] if isinstance(extensions, dict) else []
    return sum(count_of(one) * whole(one.get("byteStride")) for one in found if isinstance(one, dict))


def drawn_triangles(description: dict[str, Any], name: str) -> int:
    """Return the triangles of the scene that is shown; a mesh that stands there often counts as often."""
    nodes, meshes = list_of(description, "nodes"), list_of(description, "meshes")
    if len(nodes) > MAX_NODES:
        raise Fail(f"{name} has {len(nodes):,} nodes; {MAX_NODES:,} are the limit")
    scenes = list_of(description, "scenes")
    number = whole(description.get("scene", 0))
    if not number < len(scenes):
        raise Fail(f"{name} has no scene {number}, which it says to show")
    in_meshes = [mesh_triangles(mesh, description) for mesh in meshes]
    waiting = numbers(scenes[number].get("nodes"))
    seen: set[int] = set()
    total = 0
    while waiting:
        at = waiting.pop()
        if at in seen or at >= len(nodes):
            raise Fail(f"{name} is damaged: its nodes are no tree (node {at})")
        seen.add(at)
        node = nodes[at]
        waiting += numbers(node.get("children"))
        mesh = node.get("mesh")
        if isinstance(mesh, int) and 0 <= mesh < len(meshes):
            total += in_meshes[mesh] * instances(node, description)
    return total


def mesh_triangles(mesh: dict[str, Any], description: dict[str, Any]) -> int:
    """Return the triangles of a mesh; lines and points count as one each."""
    accessors = list_of(description, "accessors")
    total = 0
    for primitive in list_of(mesh, "primitives"):
        attributes = primitive.get("attributes")
        positions = attributes.get("POSITION") if isinstance(attributes, dict) else None
        number = primitive.get("indices", positions)
        if isinstance(number, int) and 0 <= number < len(accessors):
            corners = count_of(accessors[number])
            mode = primitive.get("mode", TRIANGLES)
            total += corners // 3 if mode == TRIANGLES else corners
    return total


def instances(node: dict[str, Any], description: dict[str, Any]) -> int:
    """Return how often a node's mesh is drawn (EXT_mesh_gpu_instancing)."""
    extensions = node.get("extensions")
    found = extensions.get("EXT_mesh_gpu_instancing") if isinstance(extensions, dict) else None
    attributes = found.get("attributes") if isinstance(found, dict) else None
    accessors = list_of(description, "accessors")
    used = (
        [one for one in attributes.values() if isinstance(one, int)] if isinstance(attributes, dict) else []
    )
    return max((count_of(accessors[one]) for one in used if 0 <= one < len(accessors)), default=1)


def numbers(value: Any) -> list[int]:
    """Return the whole numbers of a list."""
    return [one for one in value if isinstance(one, int) and one >= 0] if isinstance(value, list) else []
