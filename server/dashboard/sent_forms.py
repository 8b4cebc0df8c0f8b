"""Forms as browsers send them: small, whole within a moment, and from our own pages.

A form to sign in comes from anybody, so what one costs is bounded more closely.
"""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request

__all__ = ["FormRefused", "form_of", "is_foreign"]

MAX_FORM_BYTES: Final = 64 * 1024
MAX_SIGN_IN_BYTES: Final = 8 * 1024  # a token, and the address to go back to
FORM_S: Final = 15.0  # for a form to arrive; who is slower holds a connection and nothing else
MOST_FIELDS: Final = 500


class FormRefused(Exception):  # noqa: N818 - says what it is
    """A form cannot be taken; the message says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def form_of(request: Request, most_bytes: int = MAX_FORM_BYTES) -> dict[str, str]:
    """Read a form; of a field that comes several times the last value counts.

    Raises:
        FormRefused: it is larger than any of ours, comes too slowly, or ended early.
    """
    try:
        async with asyncio.timeout(FORM_S):
            body = await _read(request, most_bytes)
    except TimeoutError:
        raise FormRefused(408, f"The form did not arrive within {FORM_S:g} s.") from None
    except ClientDisconnect:
        raise FormRefused(400, "The form ended early.") from None
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise FormRefused(413, f"A form has at most {MOST_FIELDS} fields.") from None
    return {name: values[-1] for name, values in fields.items()}


async def _read(request: Request, most_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            raise FormRefused(
                413, f"A form has at most {most_bytes:,} bytes; submit larger parameters by the API."
            )
    return bytes(body)


def is_foreign(request: Request) -> bool:
    """Tell whether a browser says that a form comes from another site.

    `Origin` is not asked: it is `null` from strict pages, and names another host behind some proxies.
    """
    return request.headers.get("sec-fetch-site") in ("cross-site", "same-site")
