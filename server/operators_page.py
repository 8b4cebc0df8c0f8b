"""The operators' page of the server: probes and metrics on a port of their own, without a token.

It tells of all organisations at once, so it is not on the API's port: whoever has a token there is of one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from server.app import App
from server.audit import Audit
from server.metrics import Metrics
from server.routes.site import probe_routes, version
from server.store.records import Depths
from server.store.store import Store
from worker.clock import SystemClock

__all__ = ["operators_page"]

KNOWN_S: Final = 10.0  # the depths of queues are counted once in this time, however many ask
LOOK_S: Final = 10.0
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' text format

log = structlog.get_logger(__name__)


class KnownDepths:
    """Counts the queues in the store when asked, once in a while at most."""

    def __init__(self, store: Store) -> None:
        """Nothing is known yet."""
        self._store = store
        self._clock = SystemClock()
        self._looking = asyncio.Lock()
        self._looked_mono: float | None = None
        self._depths: Depths | None = None

    async def depths(self) -> Depths | None:
        """Return how deep the queues are; None where the database does not tell."""
        async with self._looking:
            now = self._clock.mono()
            if self._looked_mono is None or now - self._looked_mono >= KNOWN_S:
                self._depths = await self._look()
                self._looked_mono = self._clock.mono()
        return self._depths

    async def _look(self) -> Depths | None:
        try:
            async with asyncio.timeout(LOOK_S):
                return await self._store.depths()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the other metrics are of use
            log.warning("metrics.depths_unknown", reason=f"{type(exc).__name__}: {exc}")
            return None


def pending_of(depths: Depths, types: Sequence[str]) -> int:
    """Return how many tasks of some types may be claimed; of all types where none is named."""
    return sum(one.tasks for one in depths.pending if not types or one.type in types)


def operators_page(app: App, connections: Callable[[], int], audit: Audit | None) -> Starlette:
    """Return the page's addresses and answers.

    Args:
        app: what it tells of.
        connections: returns how many there are to the API.
        audit: the audit log, where there is one.
    """
    known = KnownDepths(app.store)
    metrics = Metrics(app, connections, audit, version())

    async def numbers(_request: Request) -> Response:
        return Response(metrics.text(await known.depths()), media_type=METRICS_TYPE)

    async def pending(request: Request) -> Response:
        depths = await known.depths()
        if depths is None:  # whoever scales by it keeps what is there: a 0 would take it away
            return PlainTextResponse("the database does not say how many tasks are pending\n", 503)
        return JSONResponse({"pending": pending_of(depths, request.query_params.getlist("type"))})

    async def failed(_request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)
        return PlainTextResponse(f"{exc.detail}\n", exc.status_code)

    return Starlette(
        routes=[*probe_routes(app.readiness), Route("/metrics", numbers), Route("/pending", pending)],
        exception_handlers={HTTPException: failed},
    )
