"""The real connections of the client to a server of raw bytes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.contract.misbehaving import (
    MisbehavingServer,
    json_answer,
)
from worker.api.http_transport import HttpTransport
from worker.api.request import Headers, Origin, Request

__all__ = ["LIMIT_S", "OK", "body_of", "opened", "request_to"]


LIMIT_S = 20.0  # of a request that is not to reach it


OK = json_answer({"id": "r"})


@asynccontextmanager
async def opened(server: MisbehavingServer, most: int = 8) -> AsyncIterator[HttpTransport]:
    """Give a transport without TLS, and a limit to the test."""
    async with (
        asyncio.timeout(30.0),
        HttpTransport(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), most=most) as transport,
    ):
        yield transport


def request_to(
    server: MisbehavingServer, method: str = "GET", content: bytes | None = None, **headers: str
) -> Request:
    """Return a request that is ready to be sent."""
    origin = Origin.of(server.url)
    return Request(method, origin, "/x", Headers.of({"host": origin.netloc, **headers}), content=content)


async def body_of(transport: HttpTransport, request: Request, limit_s: float = LIMIT_S) -> bytes:
    """Send a request, read its answer to the end."""
    answer = await transport.ask(request, limit_s)
    try:
        return b"".join([piece async for piece in answer])
    finally:
        await answer.aclose()
