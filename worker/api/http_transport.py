"""httpx's transport over plain asyncio: connections are kept, and used last in, first out.

httpx's own pool looks at every connection with each request, and aiohttp beneath it does much that is not
wanted here; see docs/decisions/0001-http-client.md.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

import httpx

from worker.api.http_connection import Answer, HttpConnection, NoAnswer

__all__ = ["HttpTransport"]

KEPT_S: Final = 30.0  # without a request; most servers close sooner
EYEBALLS_S: Final = 0.25  # before the next address of a host is tried beside the first (RFC 8305)
REPEATABLE: Final = frozenset({"GET", "PUT", "DELETE"})  # twice is the same as once

Origin = tuple[str, bytes]  # scheme; host and port as the URL has them


class HttpTransport(httpx.AsyncBaseTransport):
    """Send requests of httpx to servers, without a proxy; any but HEAD. Use it on one event loop."""

    def __init__(self, tls: ssl.SSLContext, *, most: int) -> None:
        """`tls` is for https; `most` bounds the requests that are under way, more wait for their turn."""
        self._tls = tls
        self._turns = asyncio.Semaphore(most)
        self._idle: dict[Origin, list[HttpConnection]] = {}
        self._all: set[HttpConnection] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the head of the answer; its stream must be closed, read or not.

        The extension `timeout` bounds only the time to connect; the rest is the caller's to limit.
        Raises: httpx.TransportError, OSError.
        """
        sent = encoded(request)
        await self._turns.acquire()
        try:
            answer = await self._ask(request, sent)
        except BaseException:
            self._turns.release()
            raise
        return httpx.Response(answer.status, headers=answer.headers, stream=answer, request=request)

    async def _ask(self, request: httpx.Request, sent: bytes) -> Answer:
        """Send on a kept connection or a new one; what a kept one has swallowed, once more on a new one."""
        kept = self._kept((request.url.scheme, request.url.netloc))
        if kept is not None:
            try:
                return await asked(kept, sent)
            except NoAnswer:
                if request.method not in REPEATABLE:
                    raise
        return await asked(await self._connect(request), sent)

    def _kept(self, origin: Origin) -> HttpConnection | None:
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.is_reusable and connection.kept_at + KEPT_S > now():
                return connection
            connection.close()
        return None

    async def _connect(self, request: httpx.Request) -> HttpConnection:
        url, limit_s = request.url, request.extensions.get("timeout", {}).get("connect")
        if url.scheme not in ("http", "https") or not url.host:
            raise httpx.UnsupportedProtocol(f"{url.scheme or 'no'} URL: http or https is possible")
        if self._is_closed:
            raise httpx.ConnectError("the connections are closed")
        host, is_tls = url.raw_host.decode("ascii"), url.scheme == "https"
        try:
            async with asyncio.timeout(limit_s):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: HttpConnection(self._free, self._lost),
                    host,
                    url.port or (443 if is_tls else 80),
                    ssl=self._tls if is_tls else None,
                    server_hostname=host if is_tls else None,
                    happy_eyeballs_delay=EYEBALLS_S,
                )
        except TimeoutError as exc:
            raise httpx.ConnectTimeout(f"no connection within {limit_s:g} s") from exc
        except UnicodeError as exc:  # Python's own, for names with an empty or too long part
            raise httpx.ConnectError(f"{host} cannot be the name of a host") from exc
        if self._is_closed:  # meanwhile
            connection.close()
            raise httpx.ConnectError("the connections are closed")
        connection.origin = (url.scheme, url.netloc)
        self._all.add(connection)
        return connection

    def _free(self, connection: HttpConnection) -> None:
        """Keep a connection whose answer was read; one that is closed is lost in a moment."""
        self._turns.release()
        if connection.is_reusable and not self._is_closed:
            connection.kept_at = now()
            self._idle.setdefault(connection.origin, []).append(connection)
            self._sweep_later()
        else:
            connection.close()

    def _lost(self, connection: HttpConnection) -> None:
        self._all.discard(connection)
        idle = self._idle.get(connection.origin)
        if idle and connection in idle:
            idle.remove(connection)

    def _sweep_later(self) -> None:
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(KEPT_S, self._sweep)

    def _sweep(self) -> None:
        """Close what was not asked for long; nothing ticks when there is none left."""
        self._sweeping = None
        for idle in self._idle.values():
            for connection in [one for one in idle if one.kept_at + KEPT_S <= now()]:
                connection.close()
        if any(self._idle.values()):
            self._sweep_later()

    async def aclose(self) -> None:
        """Close every connection; who waits for an answer is told."""
        self._is_closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in list(self._all):
            connection.close()
        await asyncio.sleep(0)  # what is aborted is closed in the next round of the loop


async def asked(connection: HttpConnection, sent: bytes) -> Answer:
    """Return an answer whose head has come; close the connection where none does."""
    answer = connection.send(sent)
    try:
        await answer.head()
    except BaseException:
        connection.close()
        raise
    return answer


def encoded(request: httpx.Request) -> bytes:
    """Return a request as it is sent; its content must have been read.

    Raises: httpx.LocalProtocolError where a header would end its line.
    """
    headers = request.headers.raw
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%s: %s" % header for header in headers]
    head = b"\r\n".join(lines)
    if head.count(b"\n") != len(headers) or head.count(b"\r") != len(headers) or b"\0" in head:
        raise httpx.LocalProtocolError("a header of the request holds a line break or a NUL")
    return b"%s\r\n\r\n%s" % (head, request.content)


def now() -> float:
    """Return the time of the loop."""
    return asyncio.get_running_loop().time()
