"""Find every form of the known secrets in bytes.

Plain forms are looked for one by one, which is faster than one expression for all. Expressions for
escaped forms are compiled when first needed, and run only on what has an escape in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final

from worker.redaction.forms import ESCAPES, Unit, form_of, opening_of, start_of, units_of
from worker.redaction.needles import SECRET_CHARS_MIN, Needle
from worker.redaction.spans import Span

__all__ = ["Search"]

OPENING_CHARS: Final = 4  # looked for in one expression for all needles; more make it slow to compile
END_BYTES: Final = 4096  # how far before the end a cut form may begin
CHECKS: Final = 1000  # of candidates in one search, and
BYTES_PER_CHECK: Final = 4  # one more for so many bytes; only texts made for it need as many
BOUND_BYTES: Final = 256 * 1024  # beyond it there are no more


class Search:
    """The needles of a redactor, ready to be found. Immutable."""

    def __init__(self, needles: Sequence[Needle]) -> None:
        self._needles = needles
        self._plain = [needle.text.encode("utf-8", "surrogatepass") for needle in needles]

    def has_plain(self, data: bytes) -> bool:
        """Tell whether a needle stands there as it is."""
        for plain in self._plain:  # noqa: SIM110 - `any` of a generator takes three times as long
            if plain in data:
                return True
        return False

    def spans(self, data: bytes) -> Iterator[Span]:
        """Yield where needles stand, overlapping ones too, in no order.

        A text that is made to be slow to search is, from some place on, all that stands there.
        """
        for plain in self._plain:
            if plain in data:
                yield from plain_spans(data, plain)
        if self._plain and any(escape in data for escape in ESCAPES):
            yield from self._escapes.spans(data)

    def cut_start(self, data: bytes) -> int | None:
        """Return where a needle begins that is cut off by the end; None where none is.

        A beginning shorter than 6 characters is no more than any word.
        """
        offset = max(0, len(data) - END_BYTES)
        end = data[offset:]
        starts = [cut_plain_start(end, plain) for plain in self._plain]
        if self._plain and any(escape in end for escape in ESCAPES):
            starts.append(self._escapes.cut_start(end))
        return min((offset + start for start in starts if start is not None), default=None)

    @cached_property
    def _escapes(self) -> EscapedSearch:
        return EscapedSearch(self._needles)


class EscapedSearch:
    """The same for forms with an escape in them."""

    def __init__(self, needles: Sequence[Needle]) -> None:
        self._forms = [Form(needle) for needle in needles]
        # Without these in a needle, no text is a form of two different openings.
        self._is_ambiguous = any("%" in needle.text or "\\" in needle.text for needle in needles)
        self._groups: dict[bytes, list[Form]] = {}
        for form in self._forms:
            self._groups.setdefault(form_of(form.opening), []).append(form)
        self._owners: list[bytes] = [b""]  # the opening of each capturing group of the expression
        self._openings = self._compiled()

    def spans(self, data: bytes) -> Iterator[Span]:
        """Yield where needles stand."""
        left = CHECKS + min(len(data), BOUND_BYTES) // BYTES_PER_CHECK
        for start, forms in self._candidates(data):
            left -= len(forms)
            if left < 0:
                yield start, len(data)
                return
            matches = [form.whole.match(data, start) for form in forms]
            if end := max((match.end() for match in matches if match), default=0):
                yield start, end

    def cut_start(self, data: bytes) -> int | None:
        """Return where a needle begins that is cut off by the end."""
        left = CHECKS
        for start, forms in self._candidates(data):
            left -= len(forms)
            if left < 0 or any(form.is_cut(data, start) for form in forms):
                return start
        return None

    def _candidates(self, data: bytes) -> Iterator[tuple[int, list[Form]]]:
        """Yield where the first characters of a needle stand, and which needles those may be."""
        found = self._openings.search(data)
        while found is not None:
            assert found.lastindex is not None
            is_one = not self._is_ambiguous
            yield found.start(), self._groups[self._owners[found.lastindex]] if is_one else self._forms
            found = self._openings.search(data, found.start() + 1)

    def _compiled(self) -> re.Pattern[bytes]:
        """Return an expression for the first characters of any form, its alternatives by their first byte.

        (That lets the engine skip what begins none of them.)
        """
        by_first: dict[bytes, list[tuple[bytes, bytes]]] = {}
        for opening, (form, *_) in self._groups.items():
            rest = form_of(form.opening[1:])
            for first, tail in form.opening[0].forms:
                by_first.setdefault(first, []).append((opening, tail + rest))
        alternatives = []
        for first, tails in by_first.items():
            self._owners += [opening for opening, _ in tails]
            alternatives.append(re.escape(first) + b"(?:(" + b")|(".join(tail for _, tail in tails) + b"))")
        return re.compile(b"|".join(alternatives), re.DOTALL)


class Form:
    """One needle with the expressions for its forms."""

    def __init__(self, needle: Needle) -> None:
        self._needle = needle

    @cached_property
    def opening(self) -> list[Unit]:
        """Its first characters."""
        return opening_of(self._units, OPENING_CHARS)

    @cached_property
    def whole(self) -> re.Pattern[bytes]:
        """An expression for all of it."""
        return re.compile(form_of(self._units), re.DOTALL)

    def is_cut(self, data: bytes, start: int) -> bool:
        """Tell whether it begins at `start` and is cut off by the end."""
        return self.whole.match(data, start) is None and self._cut.match(data, start) is not None

    @cached_property
    def _cut(self) -> re.Pattern[bytes]:  # slow to compile, seldom needed
        return re.compile(start_of(self._units, SECRET_CHARS_MIN), re.DOTALL)

    @cached_property
    def _units(self) -> list[Unit]:
        return units_of(self._needle.text, is_base64=self._needle.is_base64)


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
