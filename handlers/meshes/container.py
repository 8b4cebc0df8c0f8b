"""Check GLB and glTF files before a library reads them, so that what is wrong is said in words.

Format: Khronos glTF 2.0, section 4, "GLB File Format Specification".
"""

from __future__ import annotations

import importlib.util
import json
import struct
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import unquote

from handlers.meshes.bounds import Bounds
from worker import Fail

__all__ = ["check_glb", "check_gltf", "warnings_of"]

HEADER: Final = struct.Struct("<4sII")  # "glTF", version, length of the whole file
CHUNK: Final = struct.Struct("<I4s")  # length of the content, kind
MAX_JSON_BYTES: Final = 256 * 1024 * 1024  # the description alone; real ones have kilobytes
COMPRESSIONS: Final = {  # packages that trimesh would need, or None where it cannot read it at all
    "KHR_draco_mesh_compression": "DracoPy",
    "EXT_meshopt_compression": None,
    "KHR_meshopt_compression": None,
}


def check_glb(path: Path, name: str, bounds: Bounds) -> dict[str, Any]:
    """Return a GLB's description (its JSON chunk).

    Raises:
        Fail: it is no GLB 2.0, is cut off, or describes more than it holds.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEADER.size)
        if head[:4] != b"glTF":
            raise Fail(f"{name} is no GLB file: it begins with {head[:4]!r} instead of b'glTF'")
        if len(head) < HEADER.size:
            raise Fail(f"{name} is cut off: it has {size_bytes} bytes, less than the header of a GLB")
        _, version, length = HEADER.unpack(head)
        if version != 2:
            raise Fail(f"{name} is a GLB of version {version}; only version 2 can be read")
        chunks = read_chunks(file, min(length, size_bytes), name)
    if length > size_bytes:
        where = f" (it ends in its {chunks[-1][0]} chunk)" if chunks else ""
        raise Fail(
            f"{name} is cut off: it has {size_bytes:,} bytes, and its header promises {length:,}{where}; "
            "get the file again"
        )
    return with_sound_counts(described(chunks, name), name, bounds)


def read_chunks(file: BinaryIO, end: int, name: str) -> list[tuple[str, int, bytes]]:
    """Return kind, length and, of JSON chunks, the content of each chunk; the last one may be cut off."""
    chunks: list[tuple[str, int, bytes]] = []
    while file.tell() + CHUNK.size <= end:
        length, kind = CHUNK.unpack(file.read(CHUNK.size))
        start = file.tell()
        if kind == b"JSON" and length > MAX_JSON_BYTES:
            raise Fail(f"{name} has a description of {length:,} bytes; {MAX_JSON_BYTES:,} are the limit")
        content = file.read(min(length, end - start)) if kind == b"JSON" else b""
        chunks.append((kind.rstrip(b"\0 ").decode("latin-1"), length, content))
        file.seek(start + length)
    return chunks


def described(chunks: list[tuple[str, int, bytes]], name: str) -> dict[str, Any]:
    """Return the description, after a look whether the binary chunk is as large as it says."""
    if not chunks or chunks[0][0] != "JSON":
        raise Fail(f"{name} has no description: its first chunk must be JSON")
    description = parse(chunks[0][2], name)
    binary_bytes = next((length for kind, length, _ in chunks if kind == "BIN"), 0)
    buffers = description.get("buffers") or [{}]
    first = buffers[0] if isinstance(buffers, list) and isinstance(buffers[0], dict) else {}
    wanted_bytes = first.get("byteLength", 0)
    if "uri" not in first and isinstance(wanted_bytes, int) and wanted_bytes > binary_bytes:
        raise Fail(
            f"{name} is damaged: it describes {wanted_bytes:,} bytes of binary content "
            f"and holds {binary_bytes:,}"
        )
    return description


def check_gltf(path: Path, name: str, bounds: Bounds) -> dict[str, Any]:
    """Return a glTF's description; raise Fail where it is none, or names files that are not beside it."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise Fail(f"{name} has more than {MAX_JSON_BYTES:,} bytes; pack it into a GLB")
    description = parse(path.read_bytes(), name)
    for buffer in list_of(description, "buffers"):
        uri = buffer.get("uri")
        if isinstance(uri, str) and not uri.startswith("data:") and not is_beside(path, uri):
            raise Fail(
                f"{name} needs the file {uri[:200]!r} beside it, which is not there; pack both into a GLB"
            )
    return with_sound_counts(description, name, bounds)


def is_beside(path: Path, uri: str) -> bool:
    """Tell whether an address is that of a file in the folder of another one, or below."""
    beside = (path.parent / unquote(uri)).resolve()
    return beside.is_relative_to(path.parent.resolve()) and beside.is_file()


def with_sound_counts(description: dict[str, Any], name: str, bounds: Bounds) -> dict[str, Any]:
    """Return a description whose arrays are no longer than allowed: one may be long without bytes."""
    for accessor in list_of(description, "accessors"):
        count = accessor.get("count")
        if isinstance(count, int):
            bounds.points(count, name)
    return description


def parse(content: bytes, name: str) -> dict[str, Any]:
    """Return a description that is a glTF 2 and needs nothing that cannot be read."""
    try:
        description = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise Fail(f"{name} is damaged: its description is no JSON ({exc})") from exc
    asset = description.get("asset") if isinstance(description, dict) else None
    version = asset.get("version") if isinstance(asset, dict) else None
    if not isinstance(version, str) or not version.startswith("2."):
        raise Fail(f"{name} is no glTF 2: its asset.version is {str(version)[:60]!r}")
    required = description.get("extensionsRequired") or []
    for extension in required if isinstance(required, list) else []:
        package = COMPRESSIONS.get(extension, "") if isinstance(extension, str) else ""
        if package is None or (package and importlib.util.find_spec(package) is None):
            raise Fail(f"{name} is compressed with {extension}, which cannot be read here; export it without")
    return dict(description)


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


def list_of(description: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the objects of a list in the description, however wrong the rest of it is."""
    value = description.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
