"""The ZIP package of a 3MF: its parts as streams of XML events, within bounds.

Format: Open Packaging Conventions (ECMA-376 part 2); 3MF Core Specification 1.3, chapter 2.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from xml.parsers import expat

from handlers.meshes.bounds import Bounds
from worker import Fail

__all__ = ["Package", "opened"]

Start = Callable[[str, dict[str, str]], None]

CHUNK_BYTES: Final = 256 * 1024
MAX_ELEMENT_BYTES: Final = 4 * 1024 * 1024  # of one tag with its attributes
MAX_DEPTH: Final = 256  # of elements within elements
MAX_NAMESPACES: Final = 1000
MAX_RATIO: Final = 100  # of what is unpacked to the file; a plane grid of triangles comes to 10
MIN_UNPACKED_BYTES: Final = 16 * 1024 * 1024  # that a small file may unpack to, whatever the ratio
METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the standard knows no others
MAX_DIRECTORY_BYTES: Final = 1024 * 1024  # a part takes 46 and its name: at most 23,000 of them
END_OF_DIRECTORY: Final = struct.Struct("<4s4H2LH")
ZIP64_END: Final = struct.Struct("<4sQ2H2L4Q")
ZIP64_LOCATOR: Final = struct.Struct("<4sLQL")
MODEL_RELATION: Final = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"


class Package:
    """A package that is open; what is unpacked of it counts against the bounds, all parts together."""

    def __init__(self, archive: zipfile.ZipFile, name: str, size_bytes: int, bounds: Bounds) -> None:
        self._archive = archive
        self._name = name
        self._bounds = bounds
        self.namespaces: dict[str, str] = {}  # by prefix, of the part that is read
        self._unpacked_bytes = 0
        self._max_bytes = min(bounds.max_bytes, max(MIN_UNPACKED_BYTES, MAX_RATIO * size_bytes))
        self._parts = {one.filename.lower().lstrip("/"): one for one in archive.infolist()}

    def model(self) -> str:
        """Return the path of the part with the model."""
        found: list[str] = []

        def start(tag: str, attributes: dict[str, str]) -> None:
            if tag.endswith("Relationship") and attributes.get("Type") == MODEL_RELATION:
                found.append(attributes.get("Target", ""))

        self.parse("_rels/.rels", start)
        if not found:
            raise Fail(f"{self._name} is no 3MF: its package names no model")
        return found[0]

    def parse(self, path: str, start: Start) -> None:
        """Read a part from its beginning to its end, and tell of each element.

        Raises:
            Fail: there is no such part, it is no XML, has a document type, is packed in a way
                that the standard forbids, or is too large.
        """
        if (part := self._parts.get(path.lower().lstrip("/"))) is None:
            raise Fail(f"{self._name} is damaged: its package has no part {path[:100]!r}")
        if part.compress_type not in METHODS:
            raise Fail(
                f"{self._name} is damaged: its part {path[:100]!r} is packed by method {part.compress_type}, "
                "which 3MF forbids"
            )
        depth = 0

        def begin(tag: str, attributes: dict[str, str]) -> None:
            nonlocal depth
            depth += 1
            if depth > MAX_DEPTH:
                raise Fail(
                    f"{self._name} is damaged: it has more than {MAX_DEPTH} elements within each other"
                )
            start(tag, attributes)

        def finish(_: str) -> None:
            nonlocal depth
            depth -= 1

        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartElementHandler = begin
        parser.EndElementHandler = finish
        parser.StartNamespaceDeclHandler = self._take_namespace
        parser.StartDoctypeDeclHandler = self._refuse_document_type
        fed_bytes = 0
        try:
            with self._archive.open(part) as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    self._count(len(chunk))
                    fed_bytes += len(chunk)
                    parser.Parse(chunk, False)
                    if (
                        fed_bytes - parser.CurrentByteIndex > MAX_ELEMENT_BYTES
                    ):  # it waits for an element's end
                        raise Fail(
                            f"{self._name} is damaged: an element has more than {MAX_ELEMENT_BYTES:,} bytes"
                        )
            parser.Parse(b"", True)
        except expat.ExpatError as exc:
            raise Fail(f"{self._name} is damaged: its part {path[:100]!r} is no XML ({exc})") from exc
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError) as exc:
            raise Fail(
                f"{self._name} is damaged: its part {path[:100]!r} cannot be unpacked ({exc})"
            ) from exc

    def _count(self, size_bytes: int) -> None:
        self._unpacked_bytes += size_bytes
        self._bounds.check()
        if self._unpacked_bytes <= self._max_bytes:
            return
        if self._max_bytes == self._bounds.max_bytes:
            raise Fail(f"{self._name} unpacks to more than max_bytes allows: {self._max_bytes:,} bytes")
        raise Fail(
            f"{self._name} is damaged: it unpacks to more than {self._max_bytes:,} bytes, "
            "which no model of its size comes to"
        )

    def _take_namespace(self, prefix: str | None, address: str) -> None:
        self.namespaces[prefix or ""] = address
        if len(self.namespaces) > MAX_NAMESPACES:
            raise Fail(f"{self._name} is damaged: it has more than {MAX_NAMESPACES:,} namespaces")

    def _refuse_document_type(self, *_: Any) -> None:
        raise Fail(f"{self._name} is damaged: it has a document type, which 3MF forbids")


@contextmanager
def opened(path: Path, name: str, bounds: Bounds) -> Iterator[Package]:
    """Open a package.

    Raises:
        Fail: it is no ZIP, or its list of parts is beyond all measure.
    """
    check_directory(path, name)
    try:
        with zipfile.ZipFile(path) as archive:
            yield Package(archive, name, path.stat().st_size, bounds)
    except zipfile.BadZipFile as exc:
        raise Fail(f"{name} is no 3MF: {exc}") from exc


def check_directory(path: Path, name: str) -> None:
    """Look how large the list of parts is, before it becomes objects."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            raise Fail(f"{name} is no 3MF: it is no ZIP archive")
        ends_bytes = END_OF_DIRECTORY.size + ZIP64_LOCATOR.size + ZIP64_END.size
        start = max(0, path.stat().st_size - 65_536 - ends_bytes)
        file.seek(start)
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < END_OF_DIRECTORY.size:
        raise Fail(f"{name} is cut off: the end of the ZIP archive is missing; get the file again")
    directory_bytes = zip64_bytes(tail[:at], start, name)
    if directory_bytes is None:
        directory_bytes = END_OF_DIRECTORY.unpack_from(tail, at)[5]
    if directory_bytes > MAX_DIRECTORY_BYTES:
        raise Fail(f"{name} is damaged: its list of parts has {directory_bytes:,} bytes")


def zip64_bytes(before: bytes, start: int, name: str) -> int | None:
    """Return the size of the list of parts as ZIP64 says it, which then counts; None where nothing says it.

    Args:
        before: what lies before the end of the archive.
        start: where in the file that begins.
        name: of the file, for messages.
    """
    locator = before[-ZIP64_LOCATOR.size :]
    if not locator.startswith(b"PK\x06\x07"):
        return None
    at = len(before) - ZIP64_LOCATOR.size - ZIP64_END.size
    # Only where it is written by everyone: readers look for one that lies elsewhere in different places.
    if at < 0 or not before.startswith(b"PK\x06\x06", at) or ZIP64_LOCATOR.unpack(locator)[2] != start + at:
        raise Fail(f"{name} is damaged: the end of its ZIP64 archive is missing")
    return int(ZIP64_END.unpack_from(before, at)[8])
