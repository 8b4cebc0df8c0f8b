"""Any transport of httpx as ours: that by a proxy, and what stands in for a network in tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final, Self

import httpx

from worker.api.faults import Cut, Fault, NotConnected, NotHttp, Unsendable
from worker.api.http_transport import CONNECT_S
from worker.api.request import Request

__all__ = ["OverHttpx"]

URLS_KEPT: Final = 1024  # polls, and the runs that report; each is asked again and again
KINDS: Final[tuple[tuple[type[Exception], type[Fault]], ...]] = (
    (httpx.ReadError, Cut),
    (httpx.ConnectError, NotConnected),
    (httpx.ConnectTimeout, NotConnected),
    (httpx.RemoteProtocolError, NotHttp),
    (httpx.UnsupportedProtocol, Unsendable),
    (httpx.LocalProtocolError, Unsendable),
)
CONNECT: Final = {"timeout": {"connect": CONNECT_S}}


class OverHttpx:
    """Carry requests by a transport of httpx; see `worker.api.transport.Transport`."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        """Take the transport; it is closed with this one."""
        self._inner = inner

    async def ask(self, request: Request, limit_s: float) -> HttpxAnswer:
        """Return the head of the answer, which must be closed, read or not."""
        until = asyncio.get_running_loop().time() + limit_s
        with translated():
            async with asyncio.timeout_at(until):
                return HttpxAnswer(await self._inner.handle_async_request(of_httpx(request)), until)

    async def __aenter__(self) -> Self:
        """Open it."""
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close every connection."""
        await self._inner.aclose()


class HttpxAnswer:
    """An answer of httpx; see `worker.api.transport.Answer`."""

    def __init__(self, response: httpx.Response, until: float) -> None:
        """`until` is when the body must be whole, in the time of the loop."""
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self.status = response.status_code
        self.headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw
        }
        self._response = response
        self._stream = response.stream
        self._until = until

    def whole(self) -> bytes | None:
        """Tell that it comes in pieces."""
        return None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the body as it comes."""
        pieces = aiter(self._stream)
        while True:
            try:
                with translated():
                    async with asyncio.timeout_at(self._until):
                        piece = await anext(pieces)
            except StopAsyncIteration:
                return
            yield piece

    async def aclose(self) -> None:
        """Read no more."""
        await self._response.aclose()


@contextmanager
def translated() -> Iterator[None]:
    """Raise faults of httpx as ours.

    Raises: the faults of `worker.api.faults`.
    """
    try:
        yield
    except (httpx.HTTPError, httpx.StreamError) as exc:
        kind = next((ours for theirs, ours in KINDS if isinstance(exc, theirs)), Fault)
        raise kind(str(exc) or type(exc).__name__) from exc


url_of = lru_cache(URLS_KEPT)(httpx.URL)  # to read one costs a fifth of a request


def of_httpx(request: Request) -> httpx.Request:
    """Return a request as httpx has it, with all its headers: to have httpx add some costs twice the rest."""
    origin = request.origin
    made = httpx.Request(
        request.method,
        url_of(f"{origin.scheme}://{origin.netloc}{request.target}"),
        headers=[*request.headers.fields, *request.own_fields],
        stream=httpx.ByteStream(request.content or b""),
        extensions=CONNECT,
    )
    made.read()  # what the transport is given then is bytes, which it can send again
    return made
