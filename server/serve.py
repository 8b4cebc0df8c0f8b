"""Serve the Jobs API on a socket until told to stop: what `millhand serve` does."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import signal
import socket
import sys
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_plus

import structlog
import uvicorn
import uvloop
from msgspec import Struct

from server.app import LEASE_S, MAX_BODY_BYTES, App, create_app
from server.http.query import BEARER_TOKEN
from server.store.sqlite.database import DatabaseError

__all__ = ["ApiServer", "HideTokens", "ServeConfig", "TokenNeeded", "listen", "log_plainly", "run", "url_of"]

EXIT_USAGE: Final = 2  # the configuration is wrong: starting again does not help
EXIT_FAILED: Final = 1

BACKLOG: Final = 2048
KEEP_ALIVE_S: Final = 75  # longer than agents pause between polls, so that connections are reused
DATE_HEADER_S: Final = 1.0  # its resolution
SHUTDOWN_S: Final = 5  # requests still running after this are cut off

PARAMETER: Final = re.compile(r"(?P<name>[^?&=\s]+)=[^&\s]*")

log = structlog.get_logger(__name__)


class ServeConfig(Struct, frozen=True, kw_only=True):
    """What `millhand serve` is told."""

    host: str = "127.0.0.1"
    port: int = 8077  # 0: a free one
    db: str = "sqlite:///millhand.sqlite3"  # "sqlite://" in memory
    token: str | None = None
    max_body_bytes: int = MAX_BODY_BYTES
    lease_s: float = LEASE_S  # 0: silent runs keep their tasks for ever
    access_log: bool = False


class ApiServer(uvicorn.Server):
    """uvicorn on a socket and an application that others open and close; it stops when told.

    Differs from its base: no thought to signals of its own (they belong to who runs it), a stop
    is noticed at once, and those who wait for tasks are answered before it goes.
    """

    def __init__(self, app: App, *, access_log: bool = False) -> None:
        """Serve an application; `serve_on` begins."""
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=access_log,
                server_header=False,
                proxy_headers=False,  # nothing here depends on who a proxy says asked
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=SHUTDOWN_S,
                backlog=BACKLOG,
            )
        )
        self._app = app
        self._told_to_stop = asyncio.Event()

    async def serve_on(self, listening: socket.socket, on_ready: Callable[[], None]) -> None:
        """Serve until `stop`; `on_ready` is called once requests are answered."""
        self._on_ready = on_ready
        await self._serve([listening])

    def stop(self) -> None:
        """Stop soon; called on the event loop."""
        self.should_exit = True
        self._told_to_stop.set()

    async def main_loop(self) -> None:
        """Refresh the Date header once a second until told to stop."""
        self._on_ready()
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told_to_stop.wait(), DATE_HEADER_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Send waiters away, then finish what runs."""
        self._app.desk.close()
        self._app.dashboard.live.close()
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        OSError: the address is in use or not of this machine.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
    except BaseException:
        opened.close()
        raise
    return opened


def url_of(listening: socket.socket) -> str:
    """Return the URL under which a listening socket is reached."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(config: ServeConfig) -> int:
    """Serve until SIGTERM or SIGINT and return the exit code; blocking, in the main thread.

    The code is 0 after a stop that was asked for, 2 for a configuration that cannot work (also a
    database that cannot be opened), 1 where the address cannot be had.
    """
    log_plainly()
    if config.access_log:
        _show_access_log()
    try:
        listening = listen(config.host, config.port)
    except OSError as exc:
        return _give_up(
            EXIT_FAILED,
            f"cannot listen on {config.host} port {config.port}: {exc.strerror or exc};"
            " is another server running there? Port 0 takes a free one",
        )
    try:
        with listening, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(config, listening))
    except (DatabaseError, TokenNeeded) as exc:
        return _give_up(EXIT_USAGE, str(exc))
    return 0


class TokenNeeded(Exception):  # noqa: N818 - says what is missing
    """A server that others can reach has no token that lets anybody in."""


async def _serve(config: ServeConfig, listening: socket.socket) -> None:
    app = create_app(
        config.db, token=config.token, max_body_bytes=config.max_body_bytes, lease_s=config.lease_s
    )
    server = ApiServer(app, access_log=config.access_log)
    loop = asyncio.get_running_loop()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_, server.stop)
    async with app.router.lifespan_context(app):
        await _check_tokens(app, listening)
        url = url_of(listening)
        await server.serve_on(listening, lambda: log.info("listening on %s", url))


async def _check_tokens(app: App, listening: socket.socket) -> None:
    if await app.store.has_tokens():
        if not _is_loopback(listening):
            log.warning(
                "server.in_clear",
                consequence="tokens go over the network in clear, unless a proxy before it speaks TLS",
                remedy="--tls-cert and --tls-key",
            )
        return
    if not _is_loopback(listening):
        raise TokenNeeded(
            f"{url_of(listening)} can be reached from other machines, and no token lets anybody in;"
            " make one with `millhand token create --scope admin`, or set MILLHAND_SERVER_TOKEN,"
            " or listen on 127.0.0.1"
        )
    log.warning(
        "server.no_token",
        consequence="every request is refused",
        remedy="millhand token create, or MILLHAND_SERVER_TOKEN",
    )


def _is_loopback(listening: socket.socket) -> bool:
    return ipaddress.ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback


def _show_access_log() -> None:
    access = logging.getLogger("uvicorn.access")
    access.setLevel(logging.INFO)
    access.addFilter(HideTokens())
    access.addHandler(logging.StreamHandler())


def log_plainly() -> None:
    """Configure structlog unless that was done: its default shows local variables, and tokens in them."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
            ]
        )


class HideTokens(logging.Filter):
    """Takes tokens out of the query strings that the access log shows."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through, without tokens."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                PARAMETER.sub(_hidden, arg) if isinstance(arg, str) else arg for arg in record.args
            )
        return True


def _hidden(parameter: re.Match[str]) -> str:
    # The name may be escaped: bearer%5Ftoken is read as bearer_token.
    is_token = unquote_plus(parameter["name"]) == BEARER_TOKEN.name
    return f"{parameter['name']}=***" if is_token else parameter[0]


def _give_up(code: int, message: str) -> int:
    sys.stderr.write(f"millhand serve: {message}\n")
    return code
