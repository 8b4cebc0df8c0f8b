"""The only module that knows what carries HTTP: httpx over aiohttp, and its faults as ours.

httpx's own pool costs more with every concurrent connection; aiohttp beneath it does not.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
from aiohttp import ClientError
from httpx_aiohttp import AiohttpTransport
from msgspec import Struct

from worker.api.errors import TransportError
from worker.config import ApiConfig

__all__ = ["Reply", "build_client", "open_reply"]

CONNECTIONS_MAX = 256  # of one client; far above what one agent has in flight
CONNECT_S = 10.0  # a host that does not accept in this time is treated as down


class Reply(Struct, frozen=True):
    """An answer whose head has arrived; the body comes as a stream."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


def build_client(config: ApiConfig, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Return a client for one purpose (poll, claim, report), with connections of its own.

    Raises: ValueError naming the setting where the CA file, certificate or proxy cannot be used.
    """
    return httpx.AsyncClient(
        base_url=config.url.rstrip("/") + "/",
        transport=transport or aiohttp_transport(config),
        follow_redirects=False,  # a redirect could carry the token to another host
        trust_env=False,
        timeout=httpx.Timeout(None, connect=CONNECT_S),  # the whole is bounded by open_reply
        headers=headers_of(config),
    )


def aiohttp_transport(config: ApiConfig) -> httpx.AsyncBaseTransport:
    """Return the transport with the TLS and proxy settings of the configuration."""
    return AiohttpTransport(
        verify=tls_context(config),
        trust_env=False,
        limits=httpx.Limits(max_connections=CONNECTIONS_MAX, keepalive_expiry=30.0),
        proxy=proxy_of(config.proxy) if config.proxy else None,
    )


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


def headers_of(config: ApiConfig) -> dict[str, str]:
    """Return the headers of every request.

    Without TLS a request is the proxy's to read, and carries its credentials; with TLS only the
    CONNECT does, which the transport sends.
    """
    headers = {"accept": "application/json", "accept-encoding": "gzip"}
    if config.proxy and not config.url.startswith("https"):
        headers |= dict(proxy_of(config.proxy).headers)
    return headers


def tls_context(config: ApiConfig) -> ssl.SSLContext:
    """Return the TLS settings: the system's CAs or one's own bundle, and a client certificate."""
    if not config.url.startswith("https"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used; trusts nobody, costs nothing
    try:
        context = ssl.create_default_context(cafile=str(config.ca_file) if config.ca_file else None)
    except (OSError, ssl.SSLError) as exc:
        raise ValueError(f"ca_file {config.ca_file} cannot be used as a CA bundle: {exc}") from exc
    if config.client_cert:
        try:
            context.load_cert_chain(config.client_cert, config.client_key)
        except (OSError, ssl.SSLError) as exc:
            raise ValueError(f"client_cert {config.client_cert} cannot be used: {exc}") from exc
    return context


@asynccontextmanager
async def open_reply(
    client: httpx.AsyncClient, request: httpx.Request, limit_s: float, what: str
) -> AsyncIterator[Reply]:
    """Send a request and give its reply; the body is read inside the block.

    `limit_s` bounds the whole, the reading of the body included.
    Raises: TransportError on every fault of the network, of TLS, or of time.
    """
    try:
        async with asyncio.timeout(limit_s):
            response = await client.send(request, stream=True)
            try:
                yield Reply(response.status_code, response.headers, response.aiter_bytes())
            finally:
                await response.aclose()
    except TimeoutError as exc:
        raise TransportError(f"{what} brought no whole answer within {limit_s:g} s") from exc
    except (httpx.HTTPError, httpx.StreamError, ClientError, OSError) as exc:
        raise TransportError(f"{what} failed: {describe(exc)}") from exc


def describe(exc: BaseException) -> str:
    """Return a fault in words; the type's name where it has none."""
    return str(exc) or type(exc).__name__
