"""httpx's transport by a proxy: aiohttp beneath it, which knows how to ask one for a way."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator
from typing import Final

import httpx
from aiohttp import ClientError, ClientResponseError
from httpx_aiohttp import AiohttpTransport

from worker.api.http_connection import NOT_HTTP

__all__ = ["ProxiedTransport", "proxy_of"]

KEPT_S: Final = 30.0


class ProxiedTransport(httpx.AsyncBaseTransport):
    """Send requests by a proxy; its faults are those of httpx."""

    def __init__(self, tls: ssl.SSLContext | None, proxy: httpx.Proxy, *, most: int) -> None:
        """`tls` is for https behind the proxy, trusting nobody without; `most` bounds the connections."""
        self._inner = AiohttpTransport(
            verify=tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            trust_env=False,
            limits=httpx.Limits(max_connections=most, keepalive_expiry=KEPT_S),
            proxy=proxy,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the head of the answer; its stream must be closed, read or not.

        Raises: httpx.TransportError, OSError.
        """
        try:
            response = await self._inner.handle_async_request(request)
        except (ClientError, UnicodeError) as exc:  # a status line that is no UTF-8 fails as the second
            raise of_httpx(exc) from exc
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = Translated(response.stream)
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()


class Translated(httpx.AsyncByteStream):
    """A body whose faults are those of httpx."""

    def __init__(self, inner: httpx.AsyncByteStream) -> None:
        """Take the body as aiohttp gives it."""
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the body."""
        try:
            async for piece in self._inner:
                yield piece
        except ClientError as exc:
            raise httpx.ReadError(str(exc)) from exc

    async def aclose(self) -> None:
        """Read no more."""
        await self._inner.aclose()


def of_httpx(exc: Exception) -> Exception:
    """Return a fault as httpx has it; what aiohttp says of an unreadable answer would quote it."""
    if isinstance(exc, OSError):
        return exc
    if isinstance(exc, ClientResponseError | UnicodeError):
        return httpx.RemoteProtocolError(NOT_HTTP)
    return httpx.ConnectError(str(exc) or type(exc).__name__)


def proxy_of(url: str) -> httpx.Proxy:
    """Return a proxy; its credentials go as a header, the form that aiohttp keeps.

    Raises: ValueError where the URL cannot be used.
    """
    try:
        given = httpx.Proxy(url)
    except (ValueError, httpx.InvalidURL) as exc:
        raise ValueError(f"the proxy's URL cannot be used: {exc}") from exc
    if given.raw_auth is None:
        return given
    credentials = base64.b64encode(b":".join(given.raw_auth)).decode("ascii")
    return httpx.Proxy(given.url, headers={"Proxy-Authorization": f"Basic {credentials}"})
