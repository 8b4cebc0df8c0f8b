"""Check GLB and glTF files before a library reads them, so that what is wrong is said in words.

Format: Khronos glTF 2.0, section 4, "GLB File Format Specification".
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, BinaryIO, Final

from worker import Fail

__all__ = ["check_glb", "check_gltf", "list_of"]

HEADER: Final = struct.Struct("<4sII")  # "glTF", version, length of the whole file
CHUNK: Final = struct.Struct("<I4s")  # length of the content, kind
MAX_JSON_BYTES: Final = 256 * 1024 * 1024  # the description alone; real ones have kilobytes


def check_glb(path: Path, name: str) -> dict[str, Any]:
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
    return described(chunks, name)


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


def check_gltf(path: Path, name: str) -> dict[str, Any]:
    """Return a glTF's description; raise Fail where it is none."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise Fail(f"{name} has more than {MAX_JSON_BYTES:,} bytes; pack it into a GLB")
    return parse(path.read_bytes(), name)


def parse(content: bytes, name: str) -> dict[str, Any]:
    """Return a description that is a glTF 2."""
    try:
        description = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise Fail(f"{name} is damaged: its description is no JSON ({exc})") from exc
    asset = description.get("asset") if isinstance(description, dict) else None
    version = asset.get("version") if isinstance(asset, dict) else None
    if not isinstance(version, str) or not version.startswith("2."):
        raise Fail(f"{name} is no glTF 2: its asset.version is {str(version)[:60]!r}")
    return dict(description)


def list_of(description: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the objects of a list in the description, however wrong the rest of it is."""
    value = description.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
