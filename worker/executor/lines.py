"""What a run prints, as lines for people who watch it: bounded, the last ones kept.

Secrets are taken out before: a cut of what comes here leaves no part of one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

__all__ = ["LineCutter", "LogTail", "RateLimit"]

MAX_LINE_BYTES: Final = 8 * 1024  # a longer line is cut, its rest dropped
LAST_LINES: Final = 10  # shown of what was dropped last
TAIL_LINES: Final = 50
TAIL_CHARS: Final = 8 * 1024
MAX_LINES_PER_S: Final = 1000
MAX_BYTES_PER_S: Final = 1024 * 1024
MAX_BUSY_RATIO: Final = 0.1  # of the time; only lines that are made to be slow to read take it


class RateLimit:
    """Count what the lines of the second that goes on are and cost."""

    def __init__(self, mono: Callable[[], float], times: int = 1) -> None:
        """Take monotonic seconds, and how many times the usual number of lines and bytes may come."""
        self._mono = mono
        self._times = times
        self._second = -1
        self._lines = 0
        self._bytes = 0
        self._busy_s = 0.0

    @property
    def is_spent(self) -> bool:
        """Tell whether no more is taken in this second."""
        if int(self._mono()) != self._second:
            self._second, self._lines, self._bytes, self._busy_s = int(self._mono()), 0, 0, 0.0
        is_many = self._lines >= MAX_LINES_PER_S * self._times or self._bytes >= MAX_BYTES_PER_S * self._times
        return is_many or self._busy_s >= MAX_BUSY_RATIO

    def spend(self, size_bytes: int, lines: int = 1, busy_s: float = 0.0) -> None:
        """Count lines, bytes, and the CPU time that they took."""
        self._lines += lines
        self._bytes += size_bytes
        self._busy_s += busy_s


class LineCutter:
    """Cut a stream of bytes into lines of text; holds at most one unfinished line.

    While the rate is spent nothing is cut, only counted; then a line says how much is missing.
    """

    def __init__(self, limit: RateLimit, on_line: Callable[[str], None]) -> None:
        self._limit = limit
        self._on_line = on_line
        self._rest = b""
        self._is_cut = False  # the unfinished line is over its bound; what follows of it is dropped
        self._last = b""  # the end of what was dropped
        self.dropped_bytes = 0  # since the last line

    def feed(self, data: bytes) -> None:
        """Take what was printed."""
        if self._limit.is_spent:
            self._drop(data)
            return
        *lines, rest = (self._rest + data).split(b"\n")
        for number, line in enumerate(lines):
            if self._limit.is_spent:
                self._drop(b"\n".join([*lines[number:], rest]), is_whole=True)
                return
            self._emit(line)
        self._rest = rest
        if len(rest) > MAX_LINE_BYTES:
            self._emit(rest)
            self._rest, self._is_cut = b"", True

    def lose(self, size_bytes: int) -> None:
        """Count what was dropped unread; what comes next begins a line."""
        if not size_bytes:
            return
        self.dropped_bytes += size_bytes + len(self._rest)
        self._rest, self._is_cut = b"", False

    def finish(self, last: bytes | None = None) -> None:
        """Take the end of the stream, or of the run: an unfinished line is one.

        Args:
            last: the end of what was dropped, where it went another way.
        """
        rest, self._rest = self._rest, b""
        if self.dropped_bytes:
            self._tell_dropped("; the last of them:")
            for line in (self._last if last is None else last).rstrip(b"\n").split(b"\n")[-LAST_LINES:]:
                self._on_line(as_text(line))
        elif rest:
            self._emit(rest)
        self._is_cut, self._last = False, b""

    def _emit(self, line: bytes) -> None:
        is_continuation, self._is_cut = self._is_cut, False
        if is_continuation:
            return
        if self.dropped_bytes:
            self._tell_dropped("")
        self._limit.spend(len(line))
        self._on_line(as_text(line))

    def _drop(self, data: bytes, *, is_whole: bool = False) -> None:
        before = b"" if is_whole else self._rest
        self.dropped_bytes += len(before) + len(data)
        self._rest, self._is_cut = b"", not data.endswith(b"\n")
        self._last = (self._last + before + data)[-1024:]

    def _tell_dropped(self, more: str) -> None:
        self._on_line(f"… {self.dropped_bytes} bytes were too many and dropped{more}")
        self.dropped_bytes = 0


class LogTail:
    """The last lines of a run, of whatever stream."""

    _lines: deque[str] | None = None  # of most short runs

    def add(self, line: str) -> None:
        """Take a line."""
        if self._lines is None:
            self._lines = deque(maxlen=TAIL_LINES)
        self._lines.append(line)

    def last(self, count: int = LAST_LINES) -> list[str]:
        """Return the last lines."""
        return list(self._lines or ())[-count:]

    def text(self) -> str:
        """Return the last lines that fit."""
        text = "\n".join(self._lines or ())
        return text if len(text) <= TAIL_CHARS else "…" + text[1 - TAIL_CHARS :]


def as_text(line: bytes) -> str:
    """Return a printed line as text for JSON: cut, undecodable bytes replaced, no carriage returns."""
    text = line[:MAX_LINE_BYTES].decode("utf-8", "replace").rstrip("\r")
    shown = text.rpartition("\r")[2]  # a progress bar redraws its line: the last drawing counts
    return shown + " …" if len(line) > MAX_LINE_BYTES else shown
