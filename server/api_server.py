"""uvicorn on a socket and an application that others open and close; it stops when told."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from server.connection import Connection, ConnectionLimits

__all__ = ["BACKLOG", "ApiServer"]

BACKLOG: Final = 2048
KEEP_ALIVE_S: Final = 75  # longer than agents pause between polls, so that connections are reused
SHUTDOWN_S: Final = 5  # requests still running after this are cut off
HANDSHAKE_S: Final = 10.0  # of TLS


class ApiServer(uvicorn.Server):
    """Serves until told to stop.

    Differs from its base: no thought to signals of its own (they belong to who runs it), a stop
    is noticed at once, and those who wait for tasks are answered before it goes.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: ConnectionLimits,
        *,
        tls: ssl.SSLContext | None = None,
        on_stop: Callable[[], None] = lambda: None,
        delay_s: float = 0.0,
        on_drain: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve an application; `serve_on` begins.

        Args:
            app: what answers.
            limits: of connections.
            tls: its certificate; None: no TLS.
            on_stop: called when it begins to stop.
            delay_s: how long it goes on after it was told to stop, so that who sends requests hears of it.
            on_drain: called when that time begins.
        """
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,  # ours is `server.http.observer`
                server_header=False,
                proxy_headers=False,  # `server.http.peers` says whom to believe
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=SHUTDOWN_S,
                backlog=BACKLOG,
            )
        )
        self._limits = limits
        self._tls = tls
        self._on_stop = on_stop
        self._delay_s = delay_s
        self._on_drain = on_drain
        self._is_draining = False
        self._told_to_stop = asyncio.Event()

    async def serve_on(self, listening: socket.socket, on_ready: Callable[[], None]) -> None:
        """Serve until `stop`; `on_ready` is called once requests are answered."""
        self._on_ready = on_ready
        await self._serve([listening])

    def stop(self) -> None:
        """Stop soon, after the delay; told a second time, at once. Called on the event loop."""
        if self._delay_s and not self._is_draining:
            self._is_draining = True
            self._on_drain()
            asyncio.get_running_loop().call_later(self._delay_s, self._end)
        else:
            self._end()

    def _end(self) -> None:
        self.should_exit = True
        self._told_to_stop.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                lambda: Connection(self.config, self.server_state, self._limits),
                sock=one,
                backlog=BACKLOG,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_S if self._tls else None,
            )
            for one in sockets or []
        ]
        self.started = True

    async def main_loop(self) -> None:
        """Wait until told to stop. Nothing ticks: each answer is dated when it is sent."""
        self._on_ready()
        await self._told_to_stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Send waiters away, then finish what runs."""
        self._on_stop()
        await super().shutdown(sockets)
