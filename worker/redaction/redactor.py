"""Take the known secrets, and what looks like one, out of texts, values and streams."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Final

import msgspec

from worker.redaction.cleaning import Cleaning
from worker.redaction.needles import SECRET_CHARS_MIN, needles_of
from worker.redaction.patterns import (
    credential_spans,
    cut_url_start,
    header_and_setting_spans,
    may_hold_credentials,
)
from worker.redaction.search import Search
from worker.redaction.spans import REDACTED, Span, merged, without
from worker.redaction.stream import StreamRedactor

__all__ = ["Redactor"]

CUT = "…"  # what a text ends with where it was cut
# An id, an event, a number: nothing that looks like a secret is without a blank, a = or a @, and no form
# of one but the plain is without an escape.
WORD: Final = re.compile(rb"[0-9A-Za-z_.-]*")
WORDS: Final = re.compile(rb"[0-9A-Za-z_.\n-]*")


class Redactor:
    """What must not be read by people. Immutable; its `repr` says nothing of it.

    A secret is found plain, escaped as in JSON and in URLs, and in base64, in whole and line by line.
    Secrets shorter than 6 characters are only found where they are a whole value.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Take the secrets; empty ones are none."""
        self._secrets = tuple(dict.fromkeys(secret for secret in secrets if secret.strip()))
        self._searches: tuple[Search, ...] = (Search(needles_of(self._secrets)),)

    def with_secrets(self, more: Iterable[str]) -> Redactor:
        """Return a redactor that knows more secrets."""
        new = [secret for secret in more if secret.strip() and secret not in self._secrets]
        if not new:
            return self
        both = Redactor()
        both._secrets = tuple(dict.fromkeys([*self._secrets, *new]))
        both._searches = (*self._searches, Search(needles_of(new)))  # what is compiled stays so
        return both

    def text(self, text: str) -> str:
        """Return a text without secrets, also without one that its cut (a last `…`) left a part of."""
        data = text.encode("utf-8", "surrogatepass")
        if WORD.fullmatch(data) and not self._has_plain(data):
            return text
        spans = self.spans(data)
        if text.endswith(CUT):
            spans = merged([*spans, *self.cut_spans(data[: -len(CUT.encode())])])
        return without(data, spans).decode("utf-8", "surrogatepass") if spans else text

    def are_plain_words(self, texts: Sequence[str]) -> bool:
        """Tell by one look that all are words, such as ids, and that `text` leaves each as it is.

        False says nothing.
        """
        data = "\n".join(texts).encode("utf-8", "surrogatepass")
        are_words = WORDS.fullmatch(data) is not None and data.count(b"\n") == len(texts) - 1
        return are_words and not self._has_plain(data)  # one that stands across two is told as found: no harm

    def _has_plain(self, data: bytes) -> bool:
        for search in self._searches:  # noqa: SIM110 - `any` of a generator takes three times as long
            if search.has_plain(data):
                return True
        return False

    def value(self, value: Any) -> Any:
        """Return a JSON-able value without known secrets and credentials in URLs.

        Not without what else looks like a token: links that a handler returns must work.
        """
        if self._is_clean(value):
            return value
        try:
            return Cleaning(self).clean(value)
        except RecursionError:  # hundreds of levels, with a secret in them
            return {REDACTED: REDACTED} if isinstance(value, dict) else REDACTED

    def stream(self) -> StreamRedactor:
        """Return a filter for a stream of bytes."""
        return StreamRedactor(self)

    def part(self, data: bytes, start: int) -> bytes:
        """Return the end of a larger text without secrets, also without the rest of one that begins before.

        What the end cuts off is not shown either.
        """
        spans = [*self.spans(data), *self.cut_spans(data)]
        return without(data[start:], merged((max(0, a - start), b - start) for a, b in spans if b > start))

    def spans(self, data: bytes, start: int = 0) -> list[Span]:
        """Return where secrets, and what looks like one, stand; what is before `start` is only context."""
        return merged([*self._secret_spans(data, start), *header_and_setting_spans(data, start)])

    def cut_spans(self, data: bytes) -> list[Span]:
        """Return where a secret begins that is cut off by the end, if one does."""
        starts = [*(search.cut_start(data) for search in self._searches), cut_url_start(data)]
        return [(start, len(data)) for start in starts if start is not None]

    def _secret_spans(self, data: bytes, start: int = 0) -> Iterator[Span]:
        for search in self._searches:
            yield from search.spans(data)
        yield from credential_spans(data, start)

    def _is_clean(self, value: Any) -> bool:
        """Tell quickly that there is nothing to take out of a value."""
        try:
            encoded = msgspec.json.encode(value)
        except (TypeError, ValueError, RecursionError):
            return False
        if may_hold_credentials(encoded):
            return False
        if self._short and any(msgspec.json.encode(secret) in encoded for secret in self._short):
            return False
        for search in self._searches:
            for _ in search.spans(encoded):
                return False
        return True

    def whole_value(self, text: str) -> str:
        """Return a text of a value without known secrets and credentials in URLs."""
        if text in self._short:
            return REDACTED
        data = text.encode("utf-8", "surrogatepass")
        spans = merged(self._secret_spans(data))
        return without(data, spans).decode("utf-8", "surrogatepass") if spans else text

    @cached_property
    def _short(self) -> frozenset[str]:
        return frozenset(secret for secret in self._secrets if len(secret) < SECRET_CHARS_MIN)
