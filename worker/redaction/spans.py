"""Parts of a text, as (start, end), and the text without them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["REDACTED", "Span", "merged", "without"]

REDACTED: Final = "[redacted]"

Span = tuple[int, int]


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the spans in order; those that overlap or touch are one."""
    result: list[Span] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def without(data: bytes, spans: Iterable[Span]) -> bytes:
    """Return the bytes with a mark in the place of each span."""
    parts, done = [], 0
    for start, end in spans:
        parts += [data[done:start], REDACTED.encode()]
        done = end
    return b"".join([*parts, data[done:]])
