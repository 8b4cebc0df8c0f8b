"""A file of a run in its three states: made, in the spool, stored."""

from __future__ import annotations

import hashlib
import mimetypes
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

__all__ = ["MadeFile", "SpooledFile", "StoredFile", "content_type_of", "safe_part"]

CONTENT_TYPE_MAX: Final = 255  # characters; it becomes a header
CONTENT_TYPES: Final = {  # what the systems' tables mostly lack
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".obj": "model/obj",
    ".ply": "model/ply",
    ".stl": "model/stl",
}


class MadeFile(Struct, frozen=True, kw_only=True):
    """A file that a handler handed over, or that the agent kept of a run (its output)."""

    path: Path
    name: str
    content_type: str | None = None
    is_ours: bool = False  # made by the agent: taken from wherever it lies, and may be named stdout


class SpooledFile(Struct, frozen=True, kw_only=True):
    """A file in the spool, whole and durable; stands so in the journal."""

    name: str
    path: str  # below the spool, so that the state directory may move
    size_bytes: int
    sha256: str
    content_type: str


class StoredFile(Struct, frozen=True, kw_only=True):
    """A file where people get it, as it stands in `results.files`."""

    name: str
    url: str  # file:///…, s3://… or https://…; never with credentials
    size_bytes: int
    sha256: str
    content_type: str
    is_stored: bool = True  # False: the run ended before; it comes to this URL later

    def as_results(self) -> dict[str, Any]:
        """Return the entry of `results.files`."""
        entry: dict[str, Any] = {
            "name": self.name,
            "url": self.url,
            "size": self.size_bytes,
            "sha256": self.sha256,
            "contentType": self.content_type,
        }
        return entry if self.is_stored else entry | {"stored": False}


def stored(file: SpooledFile, url: str, *, is_stored: bool = True) -> StoredFile:
    """Return a spooled file as it stands at its URL."""
    return StoredFile(
        name=file.name,
        url=url,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        content_type=file.content_type,
        is_stored=is_stored,
    )


def content_type_of(name: str, told: str | None = None) -> str:
    """Return the media type that was told, if it can stand in a header, else one guessed from the name."""
    if told and len(told) <= CONTENT_TYPE_MAX and told.isascii() and told.isprintable():
        return told
    known = CONTENT_TYPES.get(Path(name).suffix.lower())
    return known or mimetypes.guess_type(name)[0] or "application/octet-stream"


def safe_part(run_id: str) -> str:
    """Return the run's id as a folder's name; ids that are no names (of other servers) as a hash."""
    if len(run_id) <= 100 and run_id.replace("-", "").replace("_", "").isalnum() and run_id.isascii():
        return run_id
    return "run-" + hashlib.sha256(run_id.encode("utf-8", "replace")).hexdigest()[:32]
