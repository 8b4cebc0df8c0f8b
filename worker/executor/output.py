"""What a run prints and logs: cut into lines, bounded, its tail kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

__all__ = ["LineCutter", "LogTail", "RateLimit"]

MAX_LINE_BYTES: Final = 8 * 1024  # a longer line is cut, its rest dropped
TAIL_LINES: Final = 50
TAIL_CHARS: Final = 8 * 1024
MAX_LINES_PER_S: Final = 1000
MAX_BYTES_PER_S: Final = 1024 * 1024


class RateLimit:
    """Count lines and bytes of the second that goes on."""

    def __init__(self, mono: Callable[[], float]) -> None:
        self._mono = mono
        self._second = -1
        self._lines = 0
        self._bytes = 0

    @property
    def is_spent(self) -> bool:
        """Tell whether no more is taken in this second."""
        if int(self._mono()) != self._second:
            self._second, self._lines, self._bytes = int(self._mono()), 0, 0
        return self._lines >= MAX_LINES_PER_S or self._bytes >= MAX_BYTES_PER_S

    def spend(self, size_bytes: int) -> None:
        """Count a line."""
        self._lines += 1
        self._bytes += size_bytes


class LineCutter:
    """Cut a stream of bytes into lines of text; holds at most one unfinished line.

    While the rate is spent nothing is cut, only counted: a flood costs little more than its reading.
    """

    def __init__(self, limit: RateLimit, on_line: Callable[[str], None]) -> None:
        self._limit = limit
        self._on_line = on_line
        self._rest = b""
        self._is_cut = False  # the unfinished line is over its bound; what follows of it is dropped
        self._last = b""  # the end of what was dropped
        self.dropped_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take what was read."""
        if self._limit.is_spent:
            self._drop(data)
            return
        *lines, rest = (self._rest + data).split(b"\n")
        for number, line in enumerate(lines):
            if self._limit.is_spent:
                self._drop(b"\n".join([*lines[number:], rest]))
                return
            self._emit(line)
        self._rest = rest
        if len(rest) > MAX_LINE_BYTES:
            self._emit(rest)
            self._rest, self._is_cut = b"", True

    def finish(self) -> None:
        """Take the end of the stream, or of the run: an unfinished line is one."""
        rest, self._rest = self._rest, b""
        if self.dropped_bytes:
            self._on_line(f"… {self.dropped_bytes} bytes were too many and dropped; the last of them:")
            for line in self._last.split(b"\n")[-10:]:
                self._on_line(as_text(line))
        elif rest:
            self._emit(rest)
        self._is_cut, self.dropped_bytes, self._last = False, 0, b""

    def _emit(self, line: bytes) -> None:
        is_continuation, self._is_cut = self._is_cut, False
        if not is_continuation:
            self._limit.spend(len(line))
            self._on_line(as_text(line))

    def _drop(self, data: bytes) -> None:
        self.dropped_bytes += len(data) + len(self._rest)
        self._rest, self._is_cut = b"", False
        self._last = (self._last + data)[-1024:]


class LogTail:
    """The last lines of a run, of whatever stream."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)

    def add(self, line: str) -> None:
        """Take a line."""
        self._lines.append(line)

    def text(self) -> str:
        """Return the last lines that fit."""
        text = "\n".join(self._lines)
        return text if len(text) <= TAIL_CHARS else "…" + text[1 - TAIL_CHARS :]


def as_text(line: bytes) -> str:
    """Return a printed line as text for JSON: cut, undecodable bytes replaced, no carriage returns."""
    text = line[:MAX_LINE_BYTES].decode("utf-8", "replace").rstrip("\r")
    shown = text.rpartition("\r")[2]  # a progress bar redraws its line: the last drawing counts
    return shown + " …" if len(line) > MAX_LINE_BYTES else shown
