"""The only module that knows what carries HTTP: our own transport; by a proxy, aiohttp below httpx's API."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Final, Protocol, Self

from worker.api.faults import Cut, Fault
from worker.api.http_transport import HttpTransport
from worker.api.request import Request
from worker.config import ApiConfig

__all__ = ["FAULTS", "Answer", "Transport", "build_transport", "headers_of", "reason_of"]

CONNECTIONS_MAX = 256  # of one client; far above what one agent has in flight
# What a transport raises where no answer came; which of them says nothing about what was done.
FAULTS: Final = (Fault, OSError)


class Answer(Protocol):
    """An answer whose head has come; its body is for one reader."""

    @property
    def status(self) -> int:
        """Of HTTP."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By name in lower case; of several of one name, the last. For reading: answers may share it."""
        ...

    def whole(self) -> bytes | None:
        """Take the body where all of it is here; None where more may come."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the body as it comes. Raises: `FAULTS`, TimeoutError."""
        ...

    async def aclose(self) -> None:
        """Read no more. Twice does no harm."""
        ...


class Transport(Protocol):
    """Connections for requests. Used on one event loop, within `async with`."""

    async def ask(self, request: Request, limit_s: float) -> Answer:
        """Return the answer as soon as its head has come; it must be closed, read or not.

        `limit_s` bounds both: what has not come by then fails.
        Raises: `FAULTS`, TimeoutError.
        """
        ...

    async def __aenter__(self) -> Self:
        """Open it."""
        ...

    async def __aexit__(self, *error: object) -> None:
        """Close every connection."""
        ...


def reason_of(fault: Exception) -> str:
    """Return why no answer came; nothing of an unreadable one is quoted."""
    if isinstance(fault, Cut):
        return "the answer was cut, or is not as its head says"
    return str(fault) or type(fault).__name__


def build_transport(config: ApiConfig) -> Transport:
    """Return connections for one purpose (poll, claim, report), with the settings of TLS and proxy.

    Raises: ValueError naming the setting where the CA file, certificate or proxy cannot be used.
    """
    tls = tls_context(config)
    if not config.proxy:
        return HttpTransport(tls, most=CONNECTIONS_MAX)
    from worker.api.over_httpx import OverHttpx  # noqa: PLC0415 - httpx takes 3 MiB
    from worker.api.proxied import ProxiedTransport, proxy_of  # noqa: PLC0415 - and aiohttp a tenth of a second

    return OverHttpx(ProxiedTransport(tls, proxy_of(config.proxy), most=CONNECTIONS_MAX))


def headers_of(config: ApiConfig) -> dict[str, str]:
    """Return the headers of every request.

    Without TLS a request is the proxy's to read, and carries its credentials; with TLS only the
    CONNECT does, which the transport sends.
    """
    headers = {"accept": "application/json", "accept-encoding": "gzip"}
    if config.proxy and not has_tls(config):
        from worker.api.proxied import proxy_of  # noqa: PLC0415 - see above

        headers |= dict(proxy_of(config.proxy).headers)
    return headers


def has_tls(config: ApiConfig) -> bool:
    """Tell whether the URL asks for TLS, in letters of either case (RFC 3986, 3.1)."""
    return config.url.lower().startswith("https:")


def tls_context(config: ApiConfig) -> ssl.SSLContext | None:
    """Return the TLS settings: the system's CAs or one's own bundle, and a client certificate.

    None where the URL asks for no TLS; a transport without a context refuses https.
    """
    if not has_tls(config):
        return None
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
