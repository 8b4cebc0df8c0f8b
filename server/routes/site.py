"""Pages beside the API: health, the OpenAPI document and its browsable form."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from server.http.answer import failure
from server.http.docs_page import docs_page
from server.http.failure import ApiError
from server.http.openapi import document
from server.routes.operations import OPERATIONS
from server.store.refusal import StoreBusy, StoreFailed
from server.store.store import Store

__all__ = ["site_routes"]


@cache
def described() -> dict[str, Any]:
    """Return the OpenAPI document of this version."""
    return document(OPERATIONS, _version())


def _version() -> str:
    try:
        return metadata.version("millhand")
    except metadata.PackageNotFoundError:
        return "unknown"


def site_routes(store: Store) -> list[Route]:
    """Return the routes that need no token."""

    async def ready(_request: Request) -> Response:
        try:
            await store.check_writable()
        except (StoreBusy, StoreFailed) as exc:
            refused = failure(ApiError(503, "not_ready", f"The database cannot be written: {exc}"))
            return Response(refused.body, refused.status, media_type=refused.content_type)
        return _json({"status": "ready"})

    return [
        Route("/healthz", _health),
        Route("/readyz", ready),
        Route("/openapi.json", _openapi),
        Route("/docs", _docs),
        Route("/", _home),
    ]


async def _health(_request: Request) -> Response:
    return _json({"status": "ok"})


async def _openapi(_request: Request) -> Response:
    return _json(described())


async def _docs(_request: Request) -> Response:
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return Response(
        docs_page(described()), media_type="text/html", headers={"Content-Security-Policy": policy}
    )


async def _home(_request: Request) -> Response:
    return RedirectResponse("ui/")


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
