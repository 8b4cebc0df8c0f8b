"""Requests over plain asyncio: connections are kept, and used last in, first out.

httpx's own pool looks at every connection with each request, and aiohttp beneath it does much that is not
wanted here; see docs/decisions/0001-http-client.md.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections import deque
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
        self._most = most
        self._under_way = 0
        self._waiting: deque[asyncio.Future[None]] = deque()  # for their turn
        self._idle: dict[tuple[str, str], list[HttpConnection]] = {}
        self._all: set[HttpConnection] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._limiting: asyncio.TimerHandle | None = None
        self._limits_at = math.inf  # when that goes off: at the earliest limit that there was
        self._is_closed = False

    async def ask(self, request: Request, limit_s: float) -> Answer:
        """Return the head of the answer, which must be closed, read or not; see `worker.api.transport`."""
        loop = self._loop = self._loop or asyncio.get_running_loop()
        until = loop.time() + limit_s
        if self._under_way < self._most:
            self._under_way += 1
        else:
            await self._turn(loop, until)
        try:
            sent = request.encoded()
            kept = self._kept(request.origin.key)
            if kept is None:
                return await self._asked(await self._connect(loop, request.origin, until), sent, until)
            try:
                return await self._asked(kept, sent, until)
            except NoAnswer:  # a kept one has swallowed it: once more on a new one
                if request.method not in REPEATABLE:
                    raise
            return await self._asked(await self._connect(loop, request.origin, until), sent, until)
        except BaseException:
            self._pass_turn()
            raise

    async def _turn(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        """Wait until one of those under way is over."""
        waiter = loop.create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout_at(until):
                await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():  # it was given one in the same moment
                self._pass_turn()
            raise

    def _pass_turn(self) -> None:
        """Let the next one begin; who waited in vain is passed over."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._under_way -= 1

    async def _asked(self, connection: HttpConnection, sent: bytes, until: float) -> Answer:
        """Return an answer whose head has come; close the connection where none does."""
        answer = connection.send(sent, until)
        if until < self._limits_at:
            self._limit_at(until)
        try:
            while not answer.has_head:
                await answer.coming()
        except BaseException:
            connection.close()
            raise
        return answer

    def _limit_at(self, at: float) -> None:
        """Look at a time for answers that took too long: a timer for each would cost more than all else."""
        if self._limiting is not None:
            self._limiting.cancel()
        assert self._loop is not None
        self._limits_at, self._limiting = at, self._loop.call_at(at, self._end_late)

    def _end_late(self) -> None:
        """End what took too long; nothing ticks while nothing is under way."""
        now, self._limits_at = self._limits_at, math.inf
        under_way = [one.answer for one in self._all if one.answer is not None]
        for answer in under_way:
            if answer.until <= now:
                answer.fail(TimeoutError("it took too long"))
        if left := [answer.until for answer in under_way if answer.until > now]:
            self._limit_at(min(left))

    def _kept(self, key: tuple[str, str]) -> HttpConnection | None:
        idle = self._idle.get(key)
        while idle:
            connection = idle.pop()
            if connection.is_reusable and connection.kept_at + KEPT_S > self._now():
                return connection
            connection.close()
        return None

    async def _connect(self, loop: asyncio.AbstractEventLoop, origin: Origin, until: float) -> HttpConnection:
        if origin.scheme not in ("http", "https") or not origin.host:
            raise Unsendable(f"{origin.scheme or 'no'} URL: http or https is possible")
        if self._is_closed:
            raise NotConnected("the connections are closed")
        is_tls, limit_s = origin.scheme == "https", min(CONNECT_S, until - loop.time())
        if is_tls and self._tls is None:
            raise Unsendable("there are no settings of TLS for https")
        try:
            async with asyncio.timeout(limit_s):
                _, connection = await loop.create_connection(
                    lambda: HttpConnection(loop, self._free, self._lost),
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
        self._pass_turn()
        if connection.is_reusable and not self._is_closed:
            connection.kept_at = self._now()
            self._idle.setdefault(connection.origin, []).append(connection)
            if self._sweeping is None:
                self._sweep_later()
        else:
            connection.close()

    def _lost(self, connection: HttpConnection) -> None:
        self._all.discard(connection)
        idle = self._idle.get(connection.origin)
        if idle and connection in idle:
            idle.remove(connection)

    def _now(self) -> float:
        assert self._loop is not None
        return self._loop.time()

    def _sweep_later(self) -> None:
        assert self._loop is not None
        self._sweeping = self._loop.call_later(KEPT_S, self._sweep)

    def _sweep(self) -> None:
        """Close what was not asked for long; nothing ticks when there is none left."""
        self._sweeping = None
        for idle in self._idle.values():
            for connection in [one for one in idle if one.kept_at + KEPT_S <= self._now()]:
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
        for timer in (self._sweeping, self._limiting):
            if timer is not None:
                timer.cancel()
        for connection in list(self._all):
            connection.close()
        await asyncio.sleep(0)  # what is aborted is closed in the next round of the loop
