"""From a page and its values to HTML: every value is escaped, nothing is loaded from elsewhere."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import Response

from server.dashboard import words
from worker.cli import human

__all__ = ["html", "main_of", "page"]

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
    " img-src 'self' https: http:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
}


@cache
def templates() -> Environment:
    """Return the templates, read once."""
    made = Environment(
        loader=PackageLoader("server.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"human": human, "words": words}
    return made


def page(name: str, values: dict[str, Any], status: int = 200) -> Response:
    """Return a whole page."""
    return html(templates().get_template(name).render(values), status)


def main_of(name: str, values: dict[str, Any]) -> str:
    """Return the part of a page that changes."""
    template = templates().get_template(name)
    return "".join(template.blocks["main"](template.new_context(values)))


def html(text: str, status: int = 200) -> Response:
    """Return HTML with the headers that keep it harmless."""
    return Response(text, status, headers=HEADERS, media_type="text/html")
