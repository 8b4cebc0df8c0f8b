"""Find every form of the known secrets in bytes.

Plain forms are looked for one by one, which is faster than one expression for all. Expressions for
escaped forms are compiled when first needed, and run only on what has an escape in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final

from worker.redaction.forms import ESCAPES, Unit, distinct_opening_of, form_of, opening_of, start_of, units_of
from worker.redaction.needles import SECRET_CHARS_MIN, Needle
from worker.redaction.spans import Span

__all__ = ["Search"]

END_BYTES: Final = 4096  # how far before the end a cut form may begin


class Search:
    """The needles of a redactor, ready to be found. Immutable."""

    def __init__(self, needles: Sequence[Needle]) -> None:
        self._plain = [needle.text.encode("utf-8", "surrogatepass") for needle in needles]
        self._forms = [Form(needle) for needle in needles]

    def spans(self, data: bytes) -> Iterator[Span]:
        """Yield where needles stand, overlapping ones too, in no order."""
        for plain in self._plain:
            if plain in data:
                yield from plain_spans(data, plain)
        if self._forms and any(escape in data for escape in ESCAPES):
            yield from self._escaped_spans(data)

    def cut_start(self, data: bytes) -> int | None:
        """Return where a needle begins that is cut off by the end; None where none is.

        A beginning shorter than 6 characters is no more than any word.
        """
        offset = max(0, len(data) - END_BYTES)
        end = data[offset:]
        starts = [cut_plain_start(end, plain) for plain in self._plain]
        if any(escape in end for escape in ESCAPES):
            starts += [form.cut_start(end) for form in self._forms]
        return min((offset + start for start in starts if start is not None), default=None)

    def _escaped_spans(self, data: bytes) -> Iterator[Span]:
        found = self._openings.search(data)
        while found is not None:
            start = found.start()
            ends = [form.end(data, start) for form in self._forms]
            if end := max((end for end in ends if end is not None), default=0):
                yield start, end
            found = self._openings.search(data, start + 1)

    @cached_property
    def _openings(self) -> re.Pattern[bytes]:
        """An expression for the first characters of any form, its alternatives grouped by the first byte.

        (That lets the engine skip what begins none of them.)
        """
        by_first: dict[bytes, dict[bytes, None]] = {}
        for form in self._forms:
            for first, rest in form.openings:
                by_first.setdefault(first, {})[rest] = None
        groups = (re.escape(first) + b"(?:" + b"|".join(rests) + b")" for first, rests in by_first.items())
        return re.compile(b"|".join(groups), re.DOTALL)


class Form:
    """One needle with the expressions for its forms."""

    def __init__(self, needle: Needle) -> None:
        self._needle = needle

    @cached_property
    def openings(self) -> list[tuple[bytes, bytes]]:
        """The first byte of each form, and an expression for the next five characters."""
        opening = distinct_opening_of(self._units, SECRET_CHARS_MIN)
        rest = form_of(opening[1:])
        return [(first, tail + rest) for first, tail in opening[0].forms]

    def end(self, data: bytes, start: int) -> int | None:
        """Return where the needle that begins at `start` ends; None where none does."""
        if self._opening.match(data, start) is None:
            return None
        match = self._whole.match(data, start)
        return None if match is None else match.end()

    def cut_start(self, data: bytes) -> int | None:
        """Return where the needle begins that is cut off by the end."""
        if self._opening.search(data) is None:
            return None
        match = self._start.search(data)
        return None if match is None else match.start()

    @cached_property
    def _units(self) -> list[Unit]:
        return units_of(self._needle.text, is_base64=self._needle.is_base64)

    @cached_property
    def _opening(self) -> re.Pattern[bytes]:
        return re.compile(form_of(opening_of(self._units, SECRET_CHARS_MIN)), re.DOTALL)

    @cached_property
    def _whole(self) -> re.Pattern[bytes]:
        return re.compile(form_of(self._units), re.DOTALL)

    @cached_property
    def _start(self) -> re.Pattern[bytes]:
        return re.compile(start_of(self._units, SECRET_CHARS_MIN), re.DOTALL)


def plain_spans(data: bytes, plain: bytes) -> Iterator[Span]:
    """Yield where a text stands; of a chain of overlapping ones, each that reaches furthest."""
    start = data.find(plain)
    while start >= 0:
        end = start + len(plain)
        yield start, end
        last = data.rfind(plain, start + 1, end + len(plain))
        start = last if last >= 0 else data.find(plain, end)


def cut_plain_start(data: bytes, plain: bytes) -> int | None:
    """Return where a text begins that is cut off by the end, behind its sixth byte at least."""
    start = data.find(plain[:SECRET_CHARS_MIN], max(0, len(data) - len(plain)))
    while start >= 0 and not plain.startswith(data[start:]):
        start = data.find(plain[:SECRET_CHARS_MIN], start + 1)
    return start if start >= 0 else None
