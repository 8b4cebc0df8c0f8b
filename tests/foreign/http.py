"""As much HTTP/1.1 as JSON clients need: keep-alive, bodies with a length or in chunks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

__all__ = ["Answer", "Request", "serve_connection"]

LIMIT_BYTES = 16 << 20  # of a body
IDLE_S = 30.0  # a connection that says nothing for longer is closed


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    body: Any  # decoded JSON; None where there is none; bytes where it is no JSON
    at_mono: float


@dataclass(frozen=True)
class Answer:
    """What goes back; nothing at all (the connection ends) where `is_lost`."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    is_lost: bool = False


Handle = Callable[[Request], Awaitable[Answer]]


async def serve_connection(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handle
) -> None:
    """Serve one connection to its end."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError, ValueError):
        while (request := await read_request(reader)) is not None:
            answer = await handle(request)
            if answer.is_lost:
                writer.transport.abort()
                break
            writer.write(encode(answer))
            await writer.drain()
    writer.close()


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read one request; None at the end of the connection."""
    async with asyncio.timeout(IDLE_S):
        head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    url = urlsplit(target)
    async with asyncio.timeout(IDLE_S):
        body = await read_body(reader, headers)
    return Request(
        method=method,
        path=url.path,
        query=dict(parse_qsl(url.query, keep_blank_values=True)),
        headers=headers,
        body=decode(body),
        at_mono=time.monotonic(),
    )


async def read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """Read a body, by its length or in chunks."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        length = int(headers.get("content-length", 0))
        if length > LIMIT_BYTES:
            raise ValueError("the body is too large")
        return await reader.readexactly(length)
    body = bytearray()
    while length := int(await reader.readline(), 16):
        body += await reader.readexactly(length)
        await reader.readline()
        if len(body) > LIMIT_BYTES:
            raise ValueError("the body is too large")
    await reader.readline()
    return bytes(body)


def decode(body: bytes) -> Any:
    """Return the JSON of a body."""
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body


def encode(answer: Answer) -> bytes:
    """Return an answer as bytes."""
    body = json.dumps(answer.body).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))} | answer.headers
    lines = [f"HTTP/1.1 {answer.status} Status", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
