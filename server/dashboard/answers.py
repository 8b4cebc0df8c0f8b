"""Answers of the dashboard that are no page."""

from __future__ import annotations

from importlib import resources
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from server.dashboard.render import HEADERS

__all__ = ["closing", "not_known_now", "static"]

RETRY_AFTER_S: Final = "1"
STATIC: Final = {"icon.svg": "image/svg+xml", "style.css": "text/css", "live.js": "text/javascript"}


def not_known_now(exc: Exception) -> Response:
    """Return the answer while the database does not tell whose a token is."""
    headers = {**HEADERS, "Retry-After": RETRY_AFTER_S}
    return Response(f"Try again in a moment. The database: {exc}", 503, headers, "text/plain")


def closing(response: Response) -> Response:
    """End the connection with an answer: what is still to come of a form is of no use."""
    response.headers["Connection"] = "close"
    return response


async def static(request: Request) -> Response:
    """Answer with one of our own files."""
    name = request.path_params["name"]
    if name not in STATIC:
        return Response("not found", 404)
    content = resources.files("server.dashboard").joinpath("static", name).read_bytes()
    return Response(content, media_type=STATIC[name], headers={"Cache-Control": "no-cache"})
