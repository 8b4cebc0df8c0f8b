"""Serve the Jobs API on a socket until told to stop: what `millhand serve` does."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog
import uvloop
from msgspec import Struct

from server import tls
from server.api_server import ApiServer
from server.app import LEASE_S, MAX_BODY_BYTES, MOST_REQUESTS, App, create_app
from server.audit import Audit, AuditError
from server.connection import ConnectionLimits
from server.http.peers import Network
from server.listen import inherited, is_loopback, listen, url_of
from server.prices import Prices
from server.retention import Keeping
from server.service import watched_by
from server.store.choice import DatabaseOptions
from server.store.refusal import DatabaseError, DatabaseUnreachable, StoreBusy, StoreFailed
from server.tls import Certificate, TlsError
from worker.clock import SystemClock
from worker.service_manager import ServiceManager
from worker.signals import Signals, signals_to_the_end
from worker.stacks import dump_on_signal

__all__ = ["MOST_CONNECTIONS", "ServeConfig", "TokenNeeded", "log_plainly", "run"]

EXIT_USAGE: Final = 2  # the configuration is wrong: starting again does not help
EXIT_FAILED: Final = 1

MOST_CONNECTIONS: Final = 10_000
OTHER_FILES: Final = 200  # descriptors beside those of connections
PAGE_CONNECTIONS: Final = 32
SHUTDOWN_MARGIN_S: Final = 30.0  # after the port is closed, for requests under way and the database

log = structlog.get_logger(__name__)


class ServeConfig(Struct, frozen=True, kw_only=True):
    """What `millhand serve` is told."""

    host: str = "127.0.0.1"
    port: int = 8077  # 0: a free one
    db: str = "sqlite:///millhand.sqlite3"  # "sqlite://" in memory
    token: str | None = None
    max_body_bytes: int = MAX_BODY_BYTES
    lease_s: float = LEASE_S  # 0: silent runs keep their tasks for ever
    keeping: Keeping = Keeping()
    prices: Prices | None = None  # of machines, for reports
    certificate: Certificate | None = None  # None: no TLS
    trusted_proxies: tuple[Network, ...] = ()
    rate_per_s: float = 0.0  # of a token; 0: any
    max_connections: int = MOST_CONNECTIONS
    max_requests: int = MOST_REQUESTS
    access_log: bool = False
    shutdown_delay_s: float = 0.0  # between 503 from /readyz and the closed port
    audit_log: str | None = None  # a file, or "-" for stderr
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0  # 0: none
    db_options: DatabaseOptions = DatabaseOptions()
    files: tuple[Path, ...] = ()  # folders whose files the dashboard shows


class TokenNeeded(Exception):  # noqa: N818 - says what is missing
    """A server that others can reach has no token that lets anybody in."""


class CannotListen(Exception):  # noqa: N818
    """An address cannot be had: which one, why, what to do."""


def run(config: ServeConfig) -> int:
    """Serve until SIGTERM or SIGINT and return the exit code; blocking, in the main thread.

    The code is 0 after a stop that was asked for, 2 for a configuration that cannot work (also a
    database that cannot be opened), 1 where the address cannot be had or the database does not answer.
    """
    log_plainly()
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # whoever sends nonsense could fill the log
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(config))
    except (DatabaseUnreachable, StoreBusy, StoreFailed) as exc:
        return _give_up(EXIT_FAILED, str(exc))
    except (AuditError, DatabaseError, TlsError, TokenNeeded) as exc:
        return _give_up(EXIT_USAGE, str(exc))
    except CannotListen as exc:
        return _give_up(EXIT_FAILED, str(exc))
    return 0


async def _serve(config: ServeConfig) -> None:
    context = tls.load(config.certificate) if config.certificate else None
    audit = Audit(config.audit_log, SystemClock()) if config.audit_log else None
    with signals_to_the_end() as signals, _listen(config) as listening:
        app = create_app(
            config.db,
            token=config.token,
            max_body_bytes=config.max_body_bytes,
            lease_s=config.lease_s,
            keeping=config.keeping,
            prices=config.prices,
            rate_per_s=config.rate_per_s,
            most_requests=config.max_requests,
            trusted_proxies=config.trusted_proxies,
            access_log=config.access_log,
            audit=audit,
            db_options=config.db_options,
            files=config.files,
        )
        limits = ConnectionLimits(_connections(config.max_connections), app.activity)
        manager = ServiceManager.take(os.environ)

        def stop() -> None:
            manager.stopping("ending: requests under way are answered")
            app.stop()

        def drain() -> None:
            _drain(app, config.shutdown_delay_s)
            manager.stopping(f"ending: open for {config.shutdown_delay_s:g} s still")
            manager.extend(config.shutdown_delay_s + SHUTDOWN_MARGIN_S)

        server = ApiServer(
            app, limits, tls=context, on_stop=stop, delay_s=config.shutdown_delay_s, on_drain=drain
        )
        _on_signals(signals, server, config, context, audit)
        async with app.router.lifespan_context(app):
            await _check_tokens(app, listening, config)
            url = url_of(listening, has_tls=context is not None)

            def tell_ready() -> None:
                gc.freeze()  # what is loaded stays: no request waits while all of it is looked at
                log.info("listening on %s", url)
                manager.ready(f"listening on {url}")

            async with _page(config, app, server, audit), watched_by(manager):
                await server.serve_on(listening, tell_ready)
    if audit is not None:
        audit.close()


def _listen(config: ServeConfig) -> socket.socket:
    try:
        return inherited() or listen(config.host, config.port)
    except OSError as exc:
        raise _cannot_listen(config.host, config.port, exc) from exc


def _cannot_listen(host: str, port: int, exc: OSError) -> CannotListen:
    return CannotListen(
        f"cannot listen on {host} port {port}: {exc.strerror or exc};"
        " is another server running there? Port 0 takes a free one"
    )


def _connections(most: int) -> int:
    """Return how many connections there may be, with as many descriptors as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + OTHER_FILES
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("server.few_files", connections=allowed - OTHER_FILES, wanted=most, remedy="ulimit -n")
    return max(1, min(most, allowed - OTHER_FILES))


def _drain(app: App, delay_s: float) -> None:
    app.drain()
    log.info("server.draining", for_s=delay_s, hint="a second signal ends it now")


def _on_signals(
    signals: Signals,
    server: ApiServer,
    config: ServeConfig,
    context: ssl.SSLContext | None,
    audit: Audit | None,
) -> None:
    dump_on_signal()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        signals.take(signal_, server.stop)

    def renew() -> None:
        if audit is not None:
            audit.reopen()
        if context is not None and config.certificate is not None:
            tls.reload(context, config.certificate)

    if audit is not None or context is not None:  # else it ends the server, as a terminal that closes does
        signals.take(signal.SIGHUP, renew)


async def _check_tokens(app: App, listening: socket.socket, config: ServeConfig) -> None:
    is_local = is_loopback(listening)
    if not await app.store.has_tokens():
        if not is_local:
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
    elif not is_local and config.certificate is None and not config.trusted_proxies:
        log.warning(
            "server.in_clear",
            consequence="tokens go over the network in clear, unless a proxy before it speaks TLS",
            remedy="--tls-cert and --tls-key, or --trusted-proxies",
        )


@asynccontextmanager
async def _page(config: ServeConfig, app: App, server: ApiServer, audit: Audit | None) -> AsyncIterator[None]:
    """Serve the operators' page until the block ends, where a port is set for it."""
    if not config.metrics_port:
        yield
        return
    from server.operators_page import operators_page  # noqa: PLC0415 - most servers load no metrics

    try:
        listening = listen(config.metrics_host, config.metrics_port)
    except OSError as exc:
        raise _cannot_listen(config.metrics_host, config.metrics_port, exc) from exc
    page = operators_page(app, lambda: len(server.server_state.connections), audit)
    with listening:
        serving = ApiServer(page, ConnectionLimits(PAGE_CONNECTIONS, app.activity))
        url = url_of(listening)
        task = asyncio.create_task(
            serving.serve_on(listening, lambda: log.info("page.opened", address=url)), name="operators-page"
        )
        try:
            yield
        finally:
            serving.stop()
            await asyncio.gather(task, return_exceptions=True)


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


def _give_up(code: int, message: str) -> int:
    sys.stderr.write(f"millhand serve: {message}\n")
    return code
