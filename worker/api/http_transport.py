"""Requests over plain asyncio: connections are kept, and used last in, first out.

httpx's own pool looks at every connection with each request, and aiohttp beneath it does much that is not
wanted here; see docs/decisions/0001-http-client.md.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, Self

from worker.api.dial import dial
from worker.api.faults import NotConnected, Unsendable
from worker.api.http_connection import Answer, HttpConnection, NoAnswer
from worker.api.request import Origin, Request

__all__ = ["HttpTransport"]

CONNECT_S: Final = 10.0  # a host that does not accept in this time is treated as down
KEPT_S: Final = 30.0  # without a request; most servers close sooner
REPEATABLE: Final = frozenset({"GET", "PUT", "DELETE"})  # twice is the same as once


class HttpTransport:
    """Send requests to servers, without a proxy; any but HEAD. Use it on one event loop."""

    def __init__(self, tls: ssl.SSLContext | None, *, most: int) -> None:
        """`tls` is for https, which is refused without; `most` bounds the requests under way, more wait."""
        self._tls = tls
        self._turns = asyncio.Semaphore(most)
        self._idle: dict[tuple[str, str], list[HttpConnection]] = {}
        self._all: set[HttpConnection] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def ask(self, request: Request, limit_s: float) -> Answer:
        """Return the head of the answer, which must be closed, read or not; see `worker.api.transport`."""
        until = now() + limit_s
        if self._turns.locked():
            async with asyncio.timeout_at(until):
                await self._turns.acquire()
        else:
            await self._turns.acquire()
        try:
            return await self._ask(request, until)
        except BaseException:
            self._turns.release()
            raise

    async def _ask(self, request: Request, until: float) -> Answer:
        """Send on a kept connection or a new one; what a kept one has swallowed, once more on a new one."""
        sent = request.encoded()
        kept = self._kept(request.origin.key)
        if kept is not None:
            try:
                return await asked(kept, sent, until)
            except NoAnswer:
                if request.method not in REPEATABLE:
                    raise
        return await asked(await self._connect(request.origin, until), sent, until)

    def _kept(self, key: tuple[str, str]) -> HttpConnection | None:
        idle = self._idle.get(key)
        while idle:
            connection = idle.pop()
            if connection.is_reusable and connection.kept_at + KEPT_S > now():
                return connection
            connection.close()
        return None

    async def _connect(self, origin: Origin, until: float) -> HttpConnection:
        if origin.scheme not in ("http", "https") or not origin.host:
            raise Unsendable(f"{origin.scheme or 'no'} URL: http or https is possible")
        if self._is_closed:
            raise NotConnected("the connections are closed")
        is_tls, limit_s = origin.scheme == "https", min(CONNECT_S, until - now())
        if is_tls and self._tls is None:
            raise Unsendable("there are no settings of TLS for https")
        try:
            async with asyncio.timeout(limit_s):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: HttpConnection(self._free, self._lost),
                    sock=await dial(origin.host, origin.port or (443 if is_tls else 80)),
                    ssl=self._tls if is_tls else None,
                    server_hostname=origin.host if is_tls else None,
                )
        except TimeoutError as exc:
            raise NotConnected(f"no connection within {limit_s:g} s") from exc
        except UnicodeError as exc:  # Python's own, for names with an empty or too long part
            raise NotConnected(f"{origin.host} cannot be the name of a host") from exc
        if self._is_closed:  # meanwhile
            connection.close()
            raise NotConnected("the connections are closed")
        connection.origin = origin.key
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

    async def __aenter__(self) -> Self:
        """Open nothing before the first request."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close every connection."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection; who waits for an answer is told."""
        self._is_closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in list(self._all):
            connection.close()
        await asyncio.sleep(0)  # what is aborted is closed in the next round of the loop


async def asked(connection: HttpConnection, sent: bytes, until: float) -> Answer:
    """Return an answer whose head has come; close the connection where none does."""
    answer = connection.send(sent)
    answer.end_at(until)
    try:
        await answer.head()
    except BaseException:
        answer.unbound()
        connection.close()
        raise
    return answer


def now() -> float:
    """Return the time of the loop."""
    return asyncio.get_running_loop().time()
