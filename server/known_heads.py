"""Heads that came on a connection before: the same one again is not read again.

The requests of an agent differ in path, length and body alone, and to read their heads is a good part of what
the server does for one beside writing. Known is what the parser has read on the same connection, byte for
byte, but for the digits at its end: a length, for which nothing but digits is taken. Everything that is not
exactly such a head with exactly so long a body goes through the parser.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from server.http.request import Headers

__all__ = ["KnownHeads", "KnownRequest"]

MOST_KNOWN: Final = 4  # an agent sends two: with a wish for little in return, and without
LONGEST_BYTES: Final = 2_048  # of one that is kept
MOST_DIGITS: Final = 9  # of a length
END: Final = b"\r\n\r\n"

# What a path of the API holds, where nothing of it is escaped and nothing asked for.
LINE: Final = re.compile(rb"(POST|PUT) (/api/[A-Za-z0-9._/-]{1,512}) HTTP/1\.1\r\n")

# Of these the answer, or where the body ends, depends beyond its length.
NOT_KEPT: Final = frozenset({b"connection", b"expect", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
LENGTH: Final = b"content-length"

HeaderList = list[tuple[bytes, bytes]]


class KnownHead(Struct, frozen=True):
    """What the parser found in a head, but for its length."""

    headers: HeaderList
    asked: Headers


class KnownRequest(Struct, frozen=True):
    """A whole request whose head is known."""

    method: str
    path: bytes
    headers: HeaderList
    asked: Headers  # the same, to be looked at; without its length
    content: bytes


class KnownHeads:
    """Those of one connection."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        """Know none."""
        self._known: dict[bytes, KnownHead] = {}

    def find(self, data: bytes) -> KnownRequest | None:
        """Return the request that this is, all of it and nothing more; None: let the parser see."""
        if not self._known or (parts := _parts(data)) is None:
            return None
        line, key, length, content = parts
        if (known := self._known.get(key)) is None:
            return None
        headers = [*known.headers, (LENGTH, length)]
        return KnownRequest(line[1].decode(), line[2], headers, known.asked, content)

    def learn(self, data: bytes, headers: HeaderList) -> None:
        """Keep the head of a request that the parser has read, all of it and nothing more, in these bytes.

        Args:
            data: what came.
            headers: what the parser found, with names in small letters.
        """
        if (parts := _parts(data)) is None:
            return
        _, key, length, _ = parts
        names = [name for name, _ in headers]
        is_last = names[-1:] == [LENGTH] and names.count(LENGTH) == 1 and headers[-1][1] == length
        if not is_last or len(key) > LONGEST_BYTES or not NOT_KEPT.isdisjoint(names):
            return
        if len(self._known) >= MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[key] = KnownHead(headers[:-1], Headers(headers[:-1]))


def _parts(data: bytes) -> tuple[re.Match[bytes], bytes, bytes, bytes] | None:
    """Return line, head without the digits at its end, these, and a body of that length; else None."""
    if (line := LINE.match(data)) is None:
        return None
    begin = line.end()
    if (end := data.find(END, begin)) < 0:
        return None
    digits = data.rfind(b" ", begin, end) + 1
    length = data[digits:end]
    if not (length.isdigit() and len(length) <= MOST_DIGITS) or digits <= begin:
        return None
    body = end + len(END)
    if int(length) != len(data) - body:
        return None
    return line, data[begin:digits], length, data[body:]
