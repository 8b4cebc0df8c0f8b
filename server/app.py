"""The Jobs API as an ASGI application: the one place where its parts are put together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.activity import Activity
from server.audit import Audit
from server.dashboard.folders import Folders
from server.dashboard.routes import Dashboard
from server.http.answer import failure
from server.http.failure import ApiError
from server.http.load import Load
from server.http.observer import Observer
from server.http.operation import Endpoint, Services
from server.http.paths import Paths
from server.http.peers import Network, Peers
from server.http.rates import Rates
from server.ids import IdSource
from server.paging import paged
from server.pending.desk import Desk
from server.prices import Prices
from server.readiness import Readiness
from server.reaper import Reaper
from server.retention import Keeping, Retention
from server.routes.operations import OPERATIONS
from server.routes.site import site_routes
from server.store.choice import DatabaseOptions, store_for
from server.store.commands import CreateToken, DeleteToken, EnsureOrganisation
from server.store.records import JobAge, Principal
from server.store.store import Store
from server.timed_store import timed
from server.token_use import TokenUse
from server.tokens import ADMIN, DEFAULT_ORG_ID, DEFAULT_ORG_NAME, SERVER_TOKEN_ID, hash_token
from worker.api.wire import CLAIMS_HEADER
from worker.clock import Clock, SystemClock

__all__ = ["LEASE_S", "MAX_BODY_BYTES", "MOST_REQUESTS", "App", "create_app"]

LEASE_S: Final = 90.0  # six heartbeats of an agent
MAX_BODY_BYTES: Final = 8 * 1024 * 1024  # of a request; results and logs of a run fit, files do not
MOST_REQUESTS: Final = 2_000  # worked on at once; some hundred milliseconds' worth of writes


class App(Starlette):
    """The application with what its surroundings need to reach."""

    store: Store
    desk: Desk
    paths: Paths
    activity: Activity
    observer: Observer
    readiness: Readiness
    load: Load
    dashboard: Dashboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and have it observed."""
        if scope["type"] == "http":  # the API's own paths are answered directly, all others by Starlette
            answering = self.paths.find(scope) or super().__call__
            await self.observer.serve(answering, scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def drain(self) -> None:
        """Say that it will end: it is not ready any more, and goes on as before."""
        self.readiness.is_draining = True

    def stop(self) -> None:
        """Say that it ends: it is not ready any more, and whoever waits for a task is answered."""
        self.drain()
        self.desk.close()
        self.dashboard.close()


def create_app(
    db: str = "sqlite://",
    *,
    token: str | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    lease_s: float = LEASE_S,
    keeping: Keeping = Keeping(),  # noqa: B008 - frozen
    prices: Prices | None = None,
    rate_per_s: float = 0.0,
    most_requests: int = MOST_REQUESTS,
    trusted_proxies: Iterable[Network] = (),
    access_log: bool = False,
    audit: Audit | None = None,
    clock: Clock | None = None,
    new_id: IdSource | None = None,
    db_options: DatabaseOptions = DatabaseOptions(),  # noqa: B008 - frozen
    files: Sequence[Path] = (),
) -> App:
    """Put the server together; nothing is opened before its lifespan begins.

    Args:
        db: URL of the database, ``sqlite:///file``, ``sqlite://`` for one in memory, ``postgresql://…``.
        token: a token with every scope for the default organisation; one of an earlier start that
            is not given again is not valid any more.
        max_body_bytes: larger bodies are refused with 413.
        lease_s: how long a run of an agent that knows leases may be silent, before its task is given
            to others; 0: for ever.
        keeping: which finished jobs are kept.
        prices: what machines cost, for the reports of the dashboard.
        rate_per_s: requests that a token may make in a second, on average; 0: any number.
        most_requests: worked on at once; further ones are refused with 503.
        trusted_proxies: whose ``X-Forwarded-For`` is believed in logs.
        access_log: whether every request is logged.
        audit: where writes are told.
        clock: where time comes from.
        new_id: where ids come from.
        db_options: how a PostgreSQL database is used.
        files: folders from which the dashboard shows files of runs.
    """
    activity = Activity()
    store = timed(store_for(db, clock, new_id, db_options), activity.writes)
    clock = clock or SystemClock()
    store = paged(store, clock)
    desk = Desk(store)
    token_use = TokenUse(store, clock)
    services = Services(
        store=store,
        desk=desk,
        clock=clock,
        max_body_bytes=max_body_bytes,
        token_use=token_use,
        rates=Rates(clock, rate_per_s),
        load=Load(most_requests),
        lease_s=lease_s,
    )
    reaper = Reaper(store, clock, lease_s, activity.lost) if lease_s else None
    retention = Retention(store, clock, keeping, _tell_of_deleted(activity, audit))
    readiness = Readiness(store, clock)
    peers = Peers(trusted_proxies)
    folders = Folders(files)
    dashboard = Dashboard(store, clock, peers, folders=folders, prices=prices, admit=_admission(services))
    app = App(
        routes=[*site_routes(readiness), *dashboard.routes()],
        lifespan=_lifespan(
            store, desk, token, [token_use, *([reaper] if reaper else []), retention, folders]
        ),
        exception_handlers={HTTPException: _http_failure},
    )
    app.store, app.desk, app.activity, app.readiness = store, desk, activity, readiness
    app.load, app.dashboard = services.load, dashboard
    app.observer = Observer(activity, peers, audit, has_access_log=access_log)
    app.paths = Paths(Endpoint(operation, services) for operation in OPERATIONS)
    return app


def _lifespan(
    store: Store, desk: Desk, token: str | None, beside: Sequence[AbstractAsyncContextManager[object]]
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await store.start(desk.on_changes)
        try:
            await _register(store, token)
            async with contextlib.AsyncExitStack() as stack:
                for work in beside:
                    await stack.enter_async_context(work)
                yield
        finally:
            desk.close()
            await store.close()

    return lifespan


def _admission(services: Services) -> Callable[[Principal], AbstractContextManager[None]]:
    """Return what counts requests of the dashboard as those of the API are counted."""

    @contextlib.contextmanager
    def admitted(principal: Principal) -> Iterator[None]:
        services.token_use.note(principal.token_id)
        services.rates.take(principal.token_id)
        services.load.begin()
        try:
            yield
        finally:
            services.load.end()

    return admitted


def _tell_of_deleted(activity: Activity, audit: Audit | None) -> Callable[[JobAge], None]:
    def tell(job: JobAge) -> None:
        activity.deleted()
        if audit is not None:
            audit.deleted(job)

    return tell


async def _register(store: Store, token: str | None) -> None:
    """Make the default organisation, and let the configured token, and no earlier one, be valid."""
    org_id = await store.apply(EnsureOrganisation(id=DEFAULT_ORG_ID, name=DEFAULT_ORG_NAME))
    if token is None:
        await store.apply(DeleteToken(id=SERVER_TOKEN_ID))
        return
    await store.apply(
        CreateToken(
            id=SERVER_TOKEN_ID,
            org_id=org_id,
            sha256=hash_token(token),
            scopes=frozenset({ADMIN}),
            name="the server's settings",
        )
    )


async def _http_failure(_request: Request, exc: Exception) -> Response:
    """Answer unknown paths and wrong methods with the documented error body."""
    assert isinstance(exc, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(exc.status_code, "http_error")
    answer = failure(ApiError(exc.status_code, code, exc.detail))
    headers = {**(exc.headers or {}), CLAIMS_HEADER: "unique"}
    return Response(answer.body, answer.status, headers=headers, media_type=answer.content_type)
