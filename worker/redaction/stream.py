"""Take secrets out of a stream that comes in pieces, wherever it is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.redaction.forms import FORM_BYTES_MAX
from worker.redaction.patterns import PATTERN_BYTES_MAX
from worker.redaction.spans import REDACTED, Span, merged

if TYPE_CHECKING:
    from worker.redaction.redactor import Redactor

__all__ = ["HELD_BYTES_MAX", "StreamRedactor"]

MATCH_BYTES_MAX: Final = max(FORM_BYTES_MAX, PATTERN_BYTES_MAX)
HELD_BYTES_MAX: Final = 64 * 1024  # of a line that has not ended, before its beginning is let go
MARK: Final = REDACTED.encode()


class StreamRedactor:
    """A filter: what comes out does not depend on how what goes in is cut.

    No match spans lines. So whole lines go out at once, and a line that has not ended is held back;
    of one that is longer than 64 KiB as much as a match could span.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._before = b""  # the last byte that was let go; whether a word begins depends on it
        self._carried: list[Span] = []  # found already in what is held
        self._is_behind_mark = False  # a secret that follows at once needs no mark of its own

    @property
    def held_bytes(self) -> int:
        """How much is held back."""
        return self._held_bytes

    def use(self, redactor: Redactor) -> None:
        """Look for other secrets from here on, also in what is held back."""
        self._redactor = redactor

    def feed(self, data: bytes) -> bytes:
        """Take what was read; return what is safe to show."""
        if self._held_bytes + len(data) <= HELD_BYTES_MAX and b"\n" not in data and b"\r" not in data:
            self._hold([*self._held, data] if self._held else [data])
            return b""
        held = b"".join([*self._held, data])
        line_end = max(held.rfind(b"\n"), held.rfind(b"\r")) + 1
        shown = self._let_go(held[:line_end], line_end) if line_end else b""
        rest = held[line_end:]
        if len(rest) > HELD_BYTES_MAX:
            shown += self._let_go(rest, len(rest) - MATCH_BYTES_MAX)
            rest = rest[-MATCH_BYTES_MAX:]
        self._hold([rest])
        return shown

    def finish(self) -> bytes:
        """Return the rest; the beginning of a secret that the end cuts off is not shown."""
        held = b"".join(self._held)
        self._carried += self._redactor.cut_spans(held)
        rest = self._let_go(held, len(held))
        self._hold([])
        self._before, self._carried, self._is_behind_mark = b"", [], False
        return rest

    def _hold(self, held: list[bytes]) -> None:
        self._held, self._held_bytes = held, sum(map(len, held))

    def _let_go(self, data: bytes, end: int) -> bytes:
        """Return the bytes up to `end` without secrets; what is found behind it is carried."""
        skip = len(self._before)
        found = self._redactor.spans(self._before + data, skip) if skip else self._redactor.spans(data)
        spans = [(max(0, first - skip), last - skip) for first, last in found if last > skip]
        if self._carried:
            spans = merged([*spans, *self._carried])
        self._carried = [(max(0, first - end), last - end) for first, last in spans if last > end]
        shown = self._without([span for span in spans if span[0] < end], data, end)
        self._before = data[end - 1 : end]
        return shown

    def _without(self, spans: list[Span], data: bytes, end: int) -> bytes:
        """Return the bytes up to `end`, with a mark for each span; one span over two calls has one mark."""
        parts, done = [], 0
        for first, last in spans:
            if first or not self._is_behind_mark:
                parts += [data[done:first], MARK]
            done = last
        self._is_behind_mark = bool(spans) and done >= end
        return b"".join([*parts, data[done:end]]) if spans else data[:end]
