"""Ask the metadata server of a cloud one question: bounded in time and size, past every proxy.

The address is the same in every cloud, and a literal: looking a name up could take longer than all of it.
Nothing of the environment is looked at, no redirect is followed, nothing is asked twice. A question that
is not wanted any more is cancelled; nothing of it is left.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from email.message import Message

__all__ = ["ADDRESS", "MAX_BYTES", "Answer", "ask"]

ADDRESS = ("169.254.169.254", 80)  # link-local: it never leaves the host, or the node of a pod
MAX_BYTES = 64 * 1024  # of an answer, head and body; the largest that we ask for has some kilobytes
FIELD = re.compile(r"[\x20-\x7e]*")  # what may stand in a line of the request
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r\n")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[^\r\n]*)?\r\n")
TOO_BUSY = 429


class Answer(Struct, frozen=True):
    """What came back: a status with the body, or the problem in words that hold nothing of the answer."""

    status: int = 0
    body: bytes = b""
    flavor: str = ""  # the header Metadata-Flavor, by which GCE says who it is
    problem: str = ""  # as the end of the sentence "the metadata …"
    etag: str = ""  # of GCE: names the value, for the question that waits for another one
    date: datetime | None = None  # when it was sent, by the clock of who sent it
    is_late: bool = False  # none came: not in time, or nobody could be reached (yet)

    @property
    def may_change(self) -> bool:
        """Tell whether the same question may get another answer later: this one came late, or not at all."""
        return self.is_late or self.status >= 500 or self.status == TOO_BUSY


class TooMuchError(Exception):
    """The answer is larger than `MAX_BYTES`."""


class NoHttpError(Exception):
    """What came is no answer of HTTP, or only a part of one."""


async def ask(
    method: str,
    path: str,
    headers: Mapping[str, str],
    *,
    limit_s: float,
    address: tuple[str, int] = ADDRESS,
    host: str = "",
) -> Answer:
    """Send one request and return the answer, or its problem, after `limit_s` at most.

    Args:
        method: GET or PUT.
        path: with its query.
        headers: beside those that every request has.
        limit_s: for all of it, in seconds; none is left where it is not positive.
        address: whom to ask.
        host: the header Host, where it is not the address.
    """
    try:
        request = written(method, path, {"Host": host or address[0], **headers})
        async with asyncio.timeout(limit_s if limit_s > 0 else 0):
            return await exchanged(request, address)
    except TimeoutError:
        return Answer(problem="did not answer in time", is_late=True)
    except TooMuchError:
        return Answer(problem=f"answered with more than {MAX_BYTES // 1024} KiB")
    except (NoHttpError, ValueError):
        return Answer(problem="answered something that is no HTTP")
    except OSError as exc:
        why = exc.strerror or type(exc).__name__
        return Answer(problem=f"could not be reached ({why})", is_late=True)


async def exchanged(request: bytes, address: tuple[str, int]) -> Answer:
    """Send a request over a connection of its own and read the answer."""
    reader, writer = await asyncio.open_connection(*address, limit=MAX_BYTES)
    try:
        writer.write(request)
        await writer.drain()
        return await received(reader)
    finally:
        writer.transport.abort()  # at once: nobody waits for a server that does not close


def written(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """Return the request; the server is asked to close the connection after its answer."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if not all(FIELD.fullmatch(line) for line in lines):
        raise ValueError("a line of the request holds what would end it")
    length = ["Content-Length: 0"] if method == "PUT" else []
    lines += ["Accept-Encoding: identity", "Connection: close", *length, "", ""]
    return "\r\n".join(lines).encode("ascii")


async def received(reader: asyncio.StreamReader) -> Answer:
    """Read one answer.

    Raises:
        TooMuchError: it has more than `MAX_BYTES`.
        NoHttpError, ValueError: it is none, or was cut.
    """
    left_bytes = MAX_BYTES
    while True:
        status, headers, head_bytes = await head_of(reader)
        left_bytes -= head_bytes
        if left_bytes < 0:
            raise TooMuchError
        if status >= 200:  # those below are interim
            break
    body = await body_of(reader, headers, left_bytes)
    return Answer(
        status,
        body,
        flavor=headers.get("Metadata-Flavor", ""),
        etag=headers.get("ETag", ""),
        date=sent_at(headers.get("Date", "")),
    )


async def head_of(reader: asyncio.StreamReader) -> tuple[int, Message, int]:
    """Return status, headers and size of a head."""
    from http.client import HTTPException, parse_headers  # noqa: PLC0415 - most machines are asked nothing

    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as exc:
        raise TooMuchError from exc
    except asyncio.IncompleteReadError as exc:
        raise NoHttpError from exc
    match = STATUS_LINE.match(head)
    if match is None:
        raise NoHttpError
    try:
        return int(match[1]), parse_headers(BytesIO(head[match.end() :])), len(head)
    except HTTPException as exc:
        raise NoHttpError from exc


async def body_of(reader: asyncio.StreamReader, headers: Message, left_bytes: int) -> bytes:
    """Return the body: as long as its head says, in chunks, or up to the end of the connection."""
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return await chunks_of(reader, left_bytes)
    length = headers.get("Content-Length")
    if length is not None:
        return await exactly(reader, int(length), left_bytes)
    body = b""
    while part := await reader.read(left_bytes + 1 - len(body)):
        body += part
        if len(body) > left_bytes:
            raise TooMuchError
    return body


async def chunks_of(reader: asyncio.StreamReader, left_bytes: int) -> bytes:
    """Return a body that comes in chunks (RFC 9112, 7.1); what may follow the last one is not read."""
    body = b""
    while True:
        line = await reader.readline()
        match = CHUNK_SIZE.fullmatch(line)
        left_bytes -= len(line)
        if match is None:
            raise NoHttpError
        size = int(match[1], 16)
        if size == 0:
            return body
        chunk = await exactly(reader, size + 2, left_bytes)
        left_bytes -= size + 2
        if not chunk.endswith(b"\r\n"):
            raise NoHttpError
        body += chunk[:-2]


async def exactly(reader: asyncio.StreamReader, size: int, left_bytes: int) -> bytes:
    """Return so many bytes."""
    if size > left_bytes:
        raise TooMuchError
    if size < 0:
        raise NoHttpError
    try:
        return await reader.readexactly(size)
    except asyncio.IncompleteReadError as exc:
        raise NoHttpError from exc


def sent_at(text: str) -> datetime | None:
    """Return the time that a header Date tells, None where it tells none."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - see `head_of`

    try:
        at = parsedate_to_datetime(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
