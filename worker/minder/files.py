"""Small files of the kernel: read and written in one call each."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["flat_numbers", "numbers", "read_once", "read_text", "whole", "words", "write_text"]

ONCE_BYTES = 16 * 1024  # memory.stat, the longest of the counters, has about 3 KiB; room for 128 takes 10 µs
READ_BYTES = 1024 * 1024  # /proc/self/mountinfo of a full node has some hundred kilobytes


def read_text(path: str, most_bytes: int = READ_BYTES) -> str | None:
    """Return a file's text, as much as is allowed; None where it is not there, not ours, or just vanished."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return b"".join(pieces(descriptor, most_bytes)).decode(errors="replace")
    except OSError:  # as below
        return None
    finally:
        os.close(descriptor)


def read_once(path: str) -> bytes | None:
    """Return what a counter says; None where it is not there, or vanished.

    The kernel makes such a file as a whole, so that one call gives all of it; a list it gives in pieces.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return whole(descriptor)
    except OSError:  # a group that was removed while open: ENODEV
        return None
    finally:
        os.close(descriptor)


def whole(descriptor: int) -> bytes:
    """Read a counter from its beginning to its end.

    Raises:
        OSError: the group or process is gone.
    """
    data = piece = os.pread(descriptor, ONCE_BYTES, 0)
    while len(piece) == ONCE_BYTES:
        piece = os.pread(descriptor, ONCE_BYTES, len(data))
        data += piece
    return data


def pieces(descriptor: int, left_bytes: int) -> Iterator[bytes]:
    """Yield what can be read; files of /proc come a page or so at a time."""
    while left_bytes > 0 and (piece := os.read(descriptor, left_bytes)):
        left_bytes -= len(piece)
        yield piece


def write_text(path: str, text: str) -> None:
    """Write to a file that is there.

    Raises:
        OSError: it is not there, or the kernel refuses the value.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def words(path: str) -> frozenset[str]:
    """Return the words of a file; none where it cannot be read."""
    return frozenset((read_text(path) or "").split())


def numbers(path: str) -> list[int]:
    """Return the numbers of a file with one a line; none where it cannot be read."""
    return [int(line) for line in (read_text(path) or "").split() if line.isdecimal()]


def flat_numbers(data: bytes | None, *names: bytes) -> list[int] | None:
    """Return values of a file of lines "name value"; None where one of them is not there."""
    lines, found = b"\n%b" % (data or b""), []
    try:
        for name in names:
            found.append(int(lines.partition(b"\n%b " % name)[2].partition(b"\n")[0]))  # noqa: PERF401
    except ValueError:  # it is not there, or no number
        return None
    return found
