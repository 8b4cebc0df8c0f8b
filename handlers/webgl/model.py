"""A model as it is handed to the page: its files, all of them at hand, and within the limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from handlers.gltf.container import check_glb, check_gltf, list_of
from handlers.webgl.content import Contents, check_images
from handlers.webgl.resources import Resources
from handlers.webgl.weight import check_weight
from worker import Fail

__all__ = ["INPUTS", "Model", "read_model"]

INPUTS: Final = ("glb", "gltf")
MAX_BYTES: Final = 256 << 20  # of all files together; the page holds them twice for a moment
SUPPORTED: Final = frozenset({
    "EXT_materials_bump", "EXT_mesh_gpu_instancing", "EXT_meshopt_compression", "EXT_texture_webp",
    "KHR_draco_mesh_compression", "KHR_lights_punctual", "KHR_materials_anisotropy",
    "KHR_materials_clearcoat", "KHR_materials_dispersion", "KHR_materials_emissive_strength",
    "KHR_materials_ior", "KHR_materials_iridescence", "KHR_materials_sheen", "KHR_materials_specular",
    "KHR_materials_transmission", "KHR_materials_unlit", "KHR_materials_volume", "KHR_mesh_quantization",
    "KHR_meshopt_compression", "KHR_texture_transform",
})  # fmt: skip


@dataclass(frozen=True)
class Model:
    """A model.

    Attributes:
        name: of its file, for people.
        files: where its content lies, by the names that the page knows them by; the first is the model.
        size_bytes: of all of them.
        warnings: what of it is not shown.
    """

    name: str
    files: dict[str, Path]
    size_bytes: int
    warnings: list[str]


def read_model(source: str, name: str, get: Callable[..., Path]) -> Model:
    """Get a model and all that belongs to it.

    Args:
        source: a path or URL of a GLB or glTF file.
        name: of the file, for messages.
        get: returns a source as a file, of `max_bytes` at most; `Context.input`.

    Raises:
        Fail: it is broken, too large, asks for what lies elsewhere, or for what cannot be read here.
    """
    kind = check_format(name)
    path = get(source, max_bytes=MAX_BYTES)
    size_bytes = path.stat().st_size
    if size_bytes == 0:
        raise Fail(f"{name} is empty: it has 0 bytes")
    if size_bytes > MAX_BYTES:
        raise Fail(f"{name} has {size_bytes:,} bytes; {MAX_BYTES:,} are the limit")
    description = check_glb(path, name) if kind == "glb" else check_gltf(path, name)
    check_extensions(description, name)
    check_weight(description, name)
    resources = Resources(source, name, get, MAX_BYTES - size_bytes)
    beside = {uri: resources.fetch(uri) for uri in uris_of(description)}
    if list_of(description, "images"):
        whole = path.read_bytes() if kind == "glb" else None
        check_images(description, Contents(description, whole, beside), name)
    files = {"/model": path} | {resources.name_of(uri): file for uri, file in beside.items()}
    return Model(name, files, sum(one.stat().st_size for one in files.values()), warnings_of(description))


def check_format(name: str) -> str:
    """Return the format of a file by its name; raise Fail where it is none of those that can be drawn."""
    ending = Path(name).suffix.lower().removeprefix(".")
    if ending not in INPUTS:
        said = f"ends in .{ending}" if ending else "has no ending"
        raise Fail(f"{name} {said}; the formats that can be drawn are {' and '.join(INPUTS)}")
    return ending


def check_extensions(description: dict[str, Any], name: str) -> None:
    """Raise Fail where a model needs an extension that would be passed over."""
    required = description.get("extensionsRequired") or []
    for extension in required if isinstance(required, list) else []:
        if extension not in SUPPORTED:
            raise Fail(f"{name} needs {str(extension)[:80]}, which cannot be drawn here; export it without")


def uris_of(description: dict[str, Any]) -> list[str]:
    """Return what a model asks for beside itself, each once."""
    things = [*list_of(description, "buffers"), *list_of(description, "images")]
    uris = [
        uri for thing in things if isinstance(uri := thing.get("uri"), str) and not uri.startswith("data:")
    ]
    return list(dict.fromkeys(uris))


def warnings_of(description: dict[str, Any]) -> list[str]:
    """Return what of a model is not shown."""
    warnings = []
    if list_of(description, "animations"):
        warnings.append("animations are not played: the model is shown as it stands")
    if list_of(description, "cameras"):
        warnings.append("its cameras are left out: the task says where the camera is")
    return warnings
