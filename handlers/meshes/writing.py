"""Write a scene in one of the formats."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import trimesh

from handlers.meshes.joining import joined
from handlers.meshes.threemf_writing import rows, three_mf
from worker import Fail

__all__ = ["CONTENT_TYPES", "OUTPUTS", "output_name", "write_model"]

MAX_NAME_BYTES = 255  # the limit of Linux file systems

Files = dict[str, bytes]  # by name


def stl(scene: trimesh.Scene, name: str, _: str | None) -> Files:
    """One mesh, binary; STL knows no colours."""
    return {name: as_bytes(joined(scene).export(file_type="stl"))}


def stl_ascii(scene: trimesh.Scene, name: str, _: str | None) -> Files:
    """One mesh, as text."""
    return {name: as_bytes(joined(scene).export(file_type="stl_ascii"))}


def ply(scene: trimesh.Scene, name: str, _: str | None) -> Files:
    """One mesh, binary, with a colour at each vertex."""
    return {name: as_bytes(joined(scene).export(file_type="ply"))}


def off(scene: trimesh.Scene, name: str, _: str | None) -> Files:
    """One mesh, as text; numbers are read back the same."""
    mesh = joined(scene)
    head = f"OFF\n{len(mesh.vertices)} {len(mesh.faces)} 0\n"
    return {
        name: "".join([head, *rows("{} {} {}\n", mesh.vertices), *rows("3 {} {} {}\n", mesh.faces)]).encode()
    }


def obj(scene: trimesh.Scene, name: str, _: str | None) -> Files:
    """Every mesh at its place, with materials and textures in files beside it."""
    export: Any = trimesh.exchange.obj.export_obj  # without type information
    library = f"{Path(name).stem}.mtl"
    # Digits behind the point: nine of the size, else a model of a nanometre would come out as zeros.
    digits = max(8, 8 - math.floor(math.log10(scene.scale or 1.0)))
    text, beside = export(
        scene, include_normals=False, return_texture=True, mtl_name=library, header=None, digits=digits
    )
    return {name: as_bytes(text)} | {key: as_bytes(content) for key, content in beside.items()}


def glb(scene: trimesh.Scene, name: str, _: str | None) -> Files:
    """The scene with its nodes, instances and materials."""
    export: Any = trimesh.exchange.gltf.export_glb  # without type information
    return {name: as_bytes(export(scene, include_normals=False))}


def gltf(scene: trimesh.Scene, name: str, _: str | None) -> Files:
    """The same as text, with all numbers in one file beside it."""
    export: Any = trimesh.exchange.gltf.export_gltf  # without type information
    beside = f"{Path(name).stem}.bin"
    made = export(scene, include_normals=False, merge_buffers=True)
    tree = json.loads(made["model.gltf"])
    tree["buffers"][0]["uri"] = quote(beside)
    made = {
        name: json.dumps(tree, separators=(",", ":")).encode(),
        beside: made.pop("gltf_buffer.bin"),
        **made,
    }
    made.pop("model.gltf")
    return {key: bytes(content) for key, content in made.items()}


def tmf(scene: trimesh.Scene, name: str, unit: str | None) -> Files:
    """The scene with its unit, its instances, and a colour for each mesh that has just one."""
    return {name: three_mf(scene, unit)}


OUTPUTS: dict[str, Callable[[trimesh.Scene, str, str | None], Files]] = {
    "stl": stl, "stl-ascii": stl_ascii, "ply": ply, "obj": obj, "off": off, "glb": glb, "gltf": gltf,
    "3mf": tmf,
}  # fmt: skip
ENDINGS = {format_: format_.removesuffix("-ascii") for format_ in OUTPUTS}
CONTENT_TYPES = {
    "stl": "model/stl", "stl-ascii": "model/stl", "ply": "model/ply", "obj": "model/obj", "off": "model/off",
    "glb": "model/gltf-binary", "gltf": "model/gltf+json", "3mf": "model/3mf",
}  # fmt: skip


def as_bytes(content: Any) -> bytes:
    """Return what an exporter made as bytes."""
    return content.encode() if isinstance(content, str) else bytes(content)


def output_name(wanted: str | None, source: str, format_: str) -> str:
    """Return the output's file name: as wanted, else after the input, with the ending of its format.

    Raises:
        Fail: it is no plain name, is too long, or ends like another format.
    """
    own = ENDINGS[format_]
    name = f"{Path(source).stem}.{own}" if wanted is None else wanted
    ending = Path(name).suffix.lower().removeprefix(".")
    if not name.isprintable() or "/" in name or "\\" in name or name in ("", ".", ".."):
        raise Fail(f"output {name[:60]!r} must be a plain file name")
    if ending in {*ENDINGS.values()} - {own}:
        raise Fail(f"output {name[:60]!r} ends in .{ending}, but the format is {format_}; change one of them")
    whole = name if ending == own else f"{name}.{own}"
    if (size_bytes := len(whole.encode())) > MAX_NAME_BYTES:
        raise Fail(
            f"output {name[:60]!r} has {size_bytes} bytes with its ending; "
            f"a file name has {MAX_NAME_BYTES} at most"
        )
    return whole


def write_model(
    scene: trimesh.Scene, format_: str, name: str, *, folder: Path, unit: str | None, max_bytes: int
) -> list[Path]:
    """Write the scene into a folder; return the paths, that of the mesh first.

    Raises:
        Fail: a file would be larger than `max_bytes`.
    """
    paths = []
    for file_name, content in OUTPUTS[format_](scene, name, unit).items():
        if len(content) > max_bytes:
            raise Fail(f"{file_name} would have {len(content):,} bytes; max_bytes allows {max_bytes:,}")
        path = folder / Path(file_name).name
        path.write_bytes(content)
        paths.append(path)
    return paths
