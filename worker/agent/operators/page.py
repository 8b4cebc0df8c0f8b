"""The agent's own page: how it stands, for operators and their programs. Read only, by HTTP.

It lives on the agent's event loop, and the work knows nothing of it: what fails here is an answer with 500.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from socket import socket
from typing import Final

import msgspec
import structlog
from aiohttp import web

from worker.agent.operators.survey import Survey

__all__ = ["CONNECTIONS_MAX", "CONNECTION_S", "METRICS_TYPE", "serving"]

CONNECTION_S: Final = 10.0  # of one connection, which is one request; who is slower is cut off
CONNECTIONS_MAX: Final = 32  # at once; further ones are closed at once
LINE_BYTES: Final = 4096  # of a request's first line, of each header, and of a body
CLOSE_S: Final = 0.05  # for answers under way when the agent ends: part of the time of its drain
SILENT: Final = logging.CRITICAL + 1  # whoever sends nonsense could fill the log; our faults are logged by us
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' text format
log = structlog.get_logger()


@asynccontextmanager
async def serving(survey: Survey, metrics: Callable[[], bytes], listening: socket) -> AsyncIterator[None]:
    """Answer on a socket that listens, until the end of the block; then no connection is left.

    Args:
        survey: tells how the agent stands.
        metrics: returns the metrics, in Prometheus' text format.
        listening: is closed with the block.
    """
    runner = web.AppRunner(
        application(survey, metrics),
        access_log=None,
        logger=logging.Logger("page", SILENT),
        keepalive_timeout=0.0,
        lingering_time=0.0,
        max_line_size=LINE_BYTES,
        max_field_size=LINE_BYTES,
        shutdown_timeout=CLOSE_S,
    )
    await runner.setup()
    assert runner.server is not None
    server = await asyncio.get_running_loop().create_server(bounded(runner.server), sock=listening)
    log.info("page.opened", address="{}:{}".format(*listening.getsockname()[:2]))
    try:
        yield
    finally:
        server.close()
        transports = [one.transport for one in runner.server.connections]
        try:
            await runner.cleanup()
        except Exception as error:  # the agent's end, and its exit code, are not the page's matter
            log.error("page.failed", exc_info=error)
        for transport in filter(None, transports):  # whose other side takes no byte more
            transport.abort()


def bounded(server: web.Server) -> Callable[[], asyncio.Protocol]:
    """Return what makes the protocol of a new connection: few at once, and none for long."""

    def connected() -> asyncio.Protocol:
        if len(server.connections) >= CONNECTIONS_MAX:
            return Refusal()
        protocol = server()
        asyncio.get_running_loop().call_later(CONNECTION_S, cut, protocol)
        return protocol

    return connected


def cut(connection: web.RequestHandler) -> None:
    """End a connection, also one whose other side takes no byte more."""
    if (transport := connection.transport) is not None:
        connection.force_close()
        transport.abort()


class Refusal(asyncio.Protocol):
    """Close a connection as soon as it is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        transport.close()


def application(survey: Survey, metrics: Callable[[], bytes]) -> web.Application:
    """Return the page's addresses and answers."""

    async def status(_: web.Request) -> web.Response:
        body = msgspec.json.format(msgspec.json.encode(survey.status()), indent=2)
        return answer(body + b"\n", content_type="application/json")

    async def healthz(_: web.Request) -> web.Response:
        if stuck := survey.turns.stuck():
            return answer(f"stuck: {', '.join(stuck)}\n".encode(), status=503)
        return answer(b"ok\n")

    async def readyz(_: web.Request) -> web.Response:
        if survey.drain.is_requested:
            return answer(b"draining\n", status=503)
        if not survey.is_ready:
            return answer(b"the server has not answered yet\n", status=503)
        return answer(b"ok\n")

    async def numbers(_: web.Request) -> web.Response:
        return answer(metrics(), content_type=METRICS_TYPE)

    app = web.Application(client_max_size=LINE_BYTES, middlewares=[faults_told])
    app.router.add_get("/status", status)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", numbers)
    return app


@web.middleware
async def faults_told(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Log a fault of ours, and answer that there is one."""
    try:
        return await handler(request)
    except web.HTTPException:
        raise
    except Exception as error:  # whatever it is, the work goes on
        log.error("page.failed", path=request.path, exc_info=error)
        return answer(b"the agent failed to answer; its log says why\n", status=500)


def answer(
    body: bytes, *, status: int = 200, content_type: str = "text/plain; charset=utf-8"
) -> web.Response:
    """Return an answer after which the connection is closed, and which nobody may keep."""
    headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
    response = web.Response(body=body, status=status, headers=headers)
    response.force_close()
    return response
