"""Count what a file promises before a library reads it: hostile files end here, in little memory."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import trimesh

from worker import Fail

__all__ = ["Bounds", "check_counts", "check_scene"]

STL_HEADER_BYTES: Final = 84
STL_TRIANGLE_BYTES: Final = 50
MAX_LINE_BYTES: Final = 1024 * 1024  # of text formats; a polygon with 100,000 corners is shorter
MAX_PLY_HEADER_BYTES: Final = 64 * 1024
LINES_A_CHECK: Final = 100_000


class Bounds(NamedTuple):
    """How large a file and its meshes may be; `check` is called now and then, to stop early."""

    max_triangles: int
    max_bytes: int
    check: Callable[[], None]

    def triangles(self, count: int, name: str) -> None:
        """Raise Fail where there are more triangles than allowed."""
        if count > self.max_triangles:
            raise Fail(f"{name} has {count:,} triangles or more; max_triangles allows {self.max_triangles:,}")

    def points(self, count: int, name: str) -> None:
        """Raise Fail where there are more points than the allowed triangles could use."""
        if count > 3 * self.max_triangles:
            raise Fail(
                f"{name} has {count:,} points or more; max_triangles of {self.max_triangles:,} allows "
                f"{3 * self.max_triangles:,}"
            )

    def size(self, size_bytes: int, name: str) -> None:
        """Raise Fail where a file has more bytes than allowed."""
        if size_bytes > self.max_bytes:
            raise Fail(f"{name} has {size_bytes:,} bytes; max_bytes allows {self.max_bytes:,}")


def check_counts(path: Path, kind: str, name: str, bounds: Bounds) -> None:
    """Look at what a file of one of the simple formats promises, and whether it can hold that.

    Raises:
        Fail: it is cut off, promises more than it holds, or has more than `bounds` allow.
    """
    bounds.size(path.stat().st_size, name)
    counting = {"stl": count_stl, "ply": count_ply, "obj": count_obj, "off": count_off}
    if kind in counting:
        with path.open("rb") as file:
            counting[kind](file, path.stat().st_size, name, bounds)


def count_stl(file: BinaryIO, size_bytes: int, name: str, bounds: Bounds) -> None:
    """Compare a binary STL's header with its size; count the corners of one that is text."""
    head = file.read(1024)
    if len(head) >= STL_HEADER_BYTES:
        (count,) = struct.unpack_from("<I", head, 80)
        wanted_bytes = STL_HEADER_BYTES + STL_TRIANGLE_BYTES * count
        if size_bytes == wanted_bytes:
            bounds.triangles(count, name)
            return
        if not is_text(head):
            what = "is cut off" if size_bytes < wanted_bytes else "is damaged"
            raise Fail(
                f"{name} {what}: it has {size_bytes:,} bytes, and its header promises {count:,} triangles, "
                f"which take {wanted_bytes:,}"
            )
    elif not is_text(head):
        raise Fail(f"{name} is cut off: it has {size_bytes:,} bytes, less than the header of an STL")
    file.seek(0)
    corners = sum(line.lstrip()[:6].lower() == b"vertex" for line in lines_of(file, name, bounds))
    bounds.triangles(corners // 3, name)


def is_text(head: bytes) -> bool:
    """Tell whether an STL is one of text: both kinds may begin with ``solid``, text has no zero bytes."""
    return head.lstrip()[:5].lower() == b"solid" and b"\0" not in head


def count_ply(file: BinaryIO, size_bytes: int, name: str, bounds: Bounds) -> None:
    """Read how many elements a PLY's header promises; each takes a byte at least."""
    header, found, _ = file.read(MAX_PLY_HEADER_BYTES).partition(b"end_header")
    if not header.startswith(b"ply") or not found:
        raise Fail(f"{name} is damaged: it has no header of a PLY")
    for line in header.splitlines():
        words = line.split()
        if words[:1] == [b"element"] and len(words) == 3:
            count = whole(words[2], name)
            if words[1] == b"face":
                bounds.triangles(count, name)
            bounds.points(count, name)
            if count > size_bytes:
                raise Fail(
                    f"{name} is cut off: it has {size_bytes:,} bytes, and its header promises {count:,} "
                    f"elements"
                )


def count_off(file: BinaryIO, _: int, name: str, bounds: Bounds) -> None:
    """Read what an OFF's header promises, then count the triangles of its polygons."""
    lines = (line.partition(b"#")[0].strip() for line in lines_of(file, name, bounds))
    rows = (line for line in lines if line)
    first = next(rows, b"")
    if not first.startswith((b"OFF", b"COFF")):
        raise Fail(f"{name} is damaged: it has no header of an OFF")
    words = first.partition(b"OFF")[2].split() or next(rows, b"").split()
    if len(words) < 2:
        raise Fail(f"{name} is damaged: its header does not say how many points and faces there are")
    points, faces = whole(words[0], name), whole(words[1], name)
    bounds.points(points, name)
    bounds.triangles(faces, name)
    rest = sum(1 for _ in zip(range(points), rows, strict=False))
    count, triangles = 0, 0
    for row in zip(range(faces), rows, strict=False):
        count += 1
        triangles += max(whole(row[1].split(None, 1)[0], name) - 2, 0)
        bounds.triangles(triangles, name)
    if rest < points or count < faces:
        raise Fail(
            f"{name} is cut off: its header promises {points:,} points and {faces:,} faces, and "
            f"it has {rest:,} and {count:,}"
        )


def count_obj(file: BinaryIO, _: int, name: str, bounds: Bounds) -> None:
    """Count points, and the triangles that an OBJ's polygons come to."""
    points, triangles = 0, 0
    for line in lines_of(file, name, bounds):
        words = line.split(None, 1)
        if words[:1] == [b"v"]:
            points += 1
        elif words[:1] == [b"f"]:
            triangles += max(len(line.split()) - 3, 0)
            bounds.triangles(triangles, name)
    bounds.points(points, name)


def lines_of(file: BinaryIO, name: str, bounds: Bounds) -> Iterator[bytes]:
    """Yield the lines of a file; raise Fail at one that is no line of a mesh."""
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b"")):
        if len(line) > MAX_LINE_BYTES:
            raise Fail(f"{name} is damaged: its line {number + 1:,} has more than {MAX_LINE_BYTES:,} bytes")
        if number % LINES_A_CHECK == 0:
            bounds.check()
        yield line


def whole(word: bytes, name: str) -> int:
    """Read a number of a header."""
    if not word.isdigit() or len(word) > 20:
        raise Fail(f"{name} is damaged: {word[:20]!r} is no number of points or faces")
    return int(word)


def check_scene(scene: trimesh.Scene, name: str, bounds: Bounds) -> int:
    """Return how many triangles a scene has where its nodes place them; raise Fail where that is too many.

    A small file may place a mesh a million times.
    """
    counts = {key: len(getattr(part, "faces", ())) for key, part in scene.geometry.items()}
    placed = sum(counts[scene.graph[node][1]] for node in scene.graph.nodes_geometry)
    bounds.triangles(placed, name)
    return placed
