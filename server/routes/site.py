"""Pages beside the API: health, the OpenAPI document and its browsable form."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from server.http.answer import failure
from server.http.docs_page import docs_page
from server.http.failure import ApiError
from server.http.openapi import document
from server.readiness import Readiness
from server.routes.operations import OPERATIONS

__all__ = ["PAGE_HEADERS", "probe_routes", "site_routes", "version"]


# A page loads nothing from elsewhere, stands in no frame of others, and tells nobody where a link was.
PAGE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none';"
    " base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


@cache
def described() -> dict[str, Any]:
    """Return the OpenAPI document of this version."""
    return document(OPERATIONS, version())


def version() -> str:
    """Return the version of millhand."""
    try:
        return metadata.version("millhand")
    except metadata.PackageNotFoundError:
        return "unknown"


def probe_routes(readiness: Readiness) -> list[Route]:
    """Return the routes of probes."""

    async def ready(_request: Request) -> Response:
        if reason := await readiness.reason():
            refused = failure(ApiError(503, "not_ready", reason))
            return Response(refused.body, refused.status, media_type=refused.content_type)
        return _json({"status": "ready"})

    return [Route("/healthz", _health), Route("/readyz", ready)]


def site_routes(readiness: Readiness) -> list[Route]:
    """Return the routes that need no token."""
    return [
        *probe_routes(readiness),
        Route("/openapi.json", _openapi),
        Route("/docs", _docs),
        Route("/", _home),
    ]


async def _health(_request: Request) -> Response:
    return _json({"status": "ok"})


async def _openapi(_request: Request) -> Response:
    return _json(described())


async def _docs(_request: Request) -> Response:
    return Response(docs_page(described()), media_type="text/html", headers=PAGE_HEADERS)


async def _home(_request: Request) -> Response:
    return RedirectResponse("ui/")


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
