"""An answer as nearly all are: whole in one piece, of plain lines. Such a one needs no parser.

A parser calls back for each header, and for the begin and the end of each part. What is read here is so
little that it can be read in one way only; a test holds that the parser reads the same. Whatever else comes,
be it good or bad, is the parser's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

__all__ = ["plain_answer"]

HEAD_BYTES_MAX: Final = 8 * 1024  # of what is looked at here
HEADS_KEPT: Final = 64  # of an agent's usual answers; `date` makes new ones of all each second
# Each header in one line of printable ASCII, without blanks around its value.
HEAD: Final = re.compile(rb"HTTP/1\.1 200 OK(?:\r\n[a-z-]+: [!-~](?:[ -~]*[!-~])?)+")
REQUEST_ID: Final = b"\r\nx-request-id: "  # of our server: of each answer another, and nothing to us
ID_SIGNS: Final = 16  # of one that the server made itself
# They say that the body ends elsewhere, or what is to come after it.
ODD: Final = frozenset({"connection", "proxy-connection", "transfer-encoding", "upgrade"})
LENGTH: Final = re.compile("0|[1-9][0-9]{0,8}")

Head = tuple[Mapping[str, str], int]  # headers, their names in lower case; bytes of the body


def plain_answer(data: bytes) -> tuple[Mapping[str, str], bytes] | None:
    """Return headers and body of a 200; None where it is not plain, or `data` is not just the whole of it.

    It says nothing of the connection, which may be used again. The headers are for reading, and without the
    id that the server gave the request.
    """
    end = data.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX)
    if end < 0:
        return None
    at = data.find(REQUEST_ID, 0, end)
    after = at + len(REQUEST_ID) + ID_SIGNS
    if at > 0 and data[after : after + 2] == b"\r\n" and data[after - ID_SIGNS : after].isalnum():
        head = plain_head(data[:at] + data[after:end])
    else:
        head = plain_head(data[:end])
    if head is None or len(data) - end - 4 != head[1]:
        return None
    return head[0], data[end + 4 :]


@lru_cache(HEADS_KEPT)
def plain_head(head: bytes) -> Head | None:
    """Read the lines before the empty one; None where they are not plain."""
    if HEAD.fullmatch(head) is None:
        return None
    lines = [line.partition(": ") for line in head.decode("ascii").split("\r\n")[1:]]
    headers = {name: value for name, _, value in lines}
    length = headers.get("content-length", "")
    is_plain = len(headers) == len(lines) and ODD.isdisjoint(headers) and LENGTH.fullmatch(length)
    return (MappingProxyType(headers), int(length)) if is_plain else None
