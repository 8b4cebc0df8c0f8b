"""Single messages of HTTP/1.1, as far as a proxy needs to see them."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from worker.api.wire import ErrorKind

__all__ = ["BAD_GATEWAY", "Kind", "Message", "answers_in", "is_offer", "kind_of", "read_message", "writes_in"]

PAGE: Final = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
BAD_GATEWAY: Final = (
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(PAGE)
) + PAGE


class Message(Struct, frozen=True):
    """A request or an answer, byte for byte."""

    start: str  # the first line
    head: bytes  # the first line and all headers, with the empty line
    headers: dict[str, str]
    raw_body: bytes  # as it was sent: with the sizes of its chunks

    @property
    def whole(self) -> bytes:
        """Return what was sent."""
        return self.head + self.raw_body

    @property
    def is_last(self) -> bool:
        """Tell whether the connection ends with it."""
        return self.headers.get("connection", "").lower() == "close"

    def json(self) -> dict[str, Any]:
        """Return the body; nothing where it is no object."""
        try:
            found = msgspec.json.decode(self.raw_body)
        except msgspec.DecodeError:
            return {}
        return found if isinstance(found, dict) else {}


async def read_message(reader: asyncio.StreamReader) -> Message | None:
    """Read one; None where the connection ends before it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        start, *lines = head.decode("latin-1").split("\r\n")[:-2]
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = await read_chunks(reader)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, OSError):
        return None
    return Message(start, head, headers, body)


def writes_in(request: Message) -> list[Message]:
    """Return the writes that one request carries, as if each had been sent by itself; none in most."""
    if not request.start.startswith("POST /api/batch "):
        return []
    return [
        Message(f"{write['method']} {write['path']} HTTP/1.1", b"", {}, msgspec.json.encode(write["body"]))
        for write in request.json().get("writes", ())
    ]


def answers_in(answer: Message, count: int) -> list[Message]:
    """Return the answer to each of so many writes that one request carried."""
    if (answers := answer.json().get("answers")) is None:
        return [answer] * count
    return [
        Message(f"HTTP/1.1 {one['status']} said", b"", {}, msgspec.json.encode(one["body"]))
        for one in answers
    ]


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Read a chunked body as it stands."""
    raw = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        raw += line + await reader.readexactly(size + 2)  # the last one is empty, without trailers
        if size == 0:
            return raw


CLOSING: Final = frozenset({ErrorKind.LOST_CLAIM, ErrorKind.REQUEUED})


class Kind(StrEnum):
    """What a request is to the protocol."""

    POLL = "poll"
    CLAIM = "claim"
    REQUEUE = "requeue"
    PROGRESS = "progress"
    END = "end"
    OTHER = "other"


def kind_of(request: Message) -> Kind:
    """Tell what a request is, by its method, path and body.

    Claims under a probe's identity, and what closes claims that lost and placeholders that are used up,
    are no step of a run.
    """
    method, target, _ = request.start.split(" ")
    path = target.partition("?")[0].rstrip("/")
    if method == "GET" and path.endswith("/api/jobs/tasks"):
        return Kind.POLL
    if is_offer(request):
        return Kind.CLAIM  # of whatever comes
    if method == "POST" and path.endswith("/api/jobs/runs"):
        return kind_of_post(request.json())
    if method == "PUT" and "/api/jobs/runs/" in path:
        return kind_of_put(request.json())
    return Kind.OTHER


def is_offer(request: Message) -> bool:
    """Tell whether a request offers a run to a task that is still to come."""
    return request.start.startswith("POST /api/offers")


def kind_of_post(body: dict[str, Any]) -> Kind:
    """Tell what a new run is."""
    if "startedAt" not in body:
        return Kind.REQUEUE
    return Kind.OTHER if str(body.get("podId")).endswith("/probe") else Kind.CLAIM


def kind_of_put(body: dict[str, Any]) -> Kind:
    """Tell what a report is."""
    if "stoppedAt" not in body:
        return Kind.PROGRESS
    kind = str(body.get("error") or "").partition(":")[0]
    return Kind.OTHER if kind in CLOSING else Kind.END
