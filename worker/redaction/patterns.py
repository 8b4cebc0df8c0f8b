"""What looks like a secret, known or not: credentials in URLs, in headers, in settings and queries.

Every expression matches within a line, and a bounded number of bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = [
    "PATTERN_BYTES_MAX",
    "credential_spans",
    "cut_url_start",
    "header_and_setting_spans",
    "may_hold_credentials",
]

PATTERN_BYTES_MAX: Final = 8 * 1024  # of one match

# RFC 3986: the userinfo ends at the first @; a space, a quote or a slash ends the search.
URL: Final = re.compile(rb"(?<=[A-Za-z0-9+.-])://([^/@\s\"<>\\]{1,1024})@")
WIDE_URL: Final = re.compile(rb"://[^/@\s\"<>]{1,8192}@")  # escaped characters are longer
CUT_URL: Final = re.compile(rb"(?<=[A-Za-z0-9+.-])://([^/@\s\"<>\\:\[]{0,256}:[^/@\s\"<>\\]{6,1024})\Z")
CUT_URL_BYTES: Final = 2048  # more than it can match
VALUE: Final = (
    rb"[A-Za-z0-9._~+/=-]"  # RFC 6750 and 7617: what a bearer token or basic credentials are made of
)
# Words of people follow "basic" too; behind a header's name, or with a digit, it is none of them.
HEADER: Final = re.compile(
    rb"(?i)(?:authorization[\\\"']{0,8}[ \t]{0,4}[:=][ \t]{0,4}[\\\"']{0,8}(?:bearer|basic|token)[ \t]{1,16}"
    rb"|\b(?:bearer|basic)[ \t]{1,16}(?=" + VALUE + rb"{0,512}[0-9]))(" + VALUE + rb"{6,8000})"
)
NAMES: Final = (b"token", b"secret", b"password", b"passwd", b"key")
SETTING: Final = re.compile(
    rb"(?i)\b(?:(?:bearer_|access_|refresh_)?token|(?:client_)?secret|api_?key|password|passwd)"
    rb"=[\\\"']{0,8}([^&\s\"'\\]{1,8000})"
)


def credential_spans(data: bytes, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield where credentials in URLs stand: ``scheme://here@host``; from `start` on."""
    if b"://" in data and b"@" in data:
        yield from (match.span(1) for match in URL.finditer(data, start))


def may_hold_credentials(encoded: bytes) -> bool:
    """Tell whether there may be credentials in a URL of a JSON document; quick, and never wrongly no."""
    return b"://" in encoded and b"@" in encoded and WIDE_URL.search(encoded) is not None


def header_and_setting_spans(data: bytes, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield where tokens stand, behind ``Bearer``, ``Authorization: Basic``, ``token=`` and the like."""
    lowered = data.lower()
    if b"bearer" in lowered or b"basic" in lowered or b"authorization" in lowered:
        yield from (match.span(1) for match in HEADER.finditer(data, start))
    if b"=" in data and any(name + b"=" in lowered for name in NAMES):
        yield from (match.span(1) for match in SETTING.finditer(data, start))


def cut_url_start(data: bytes) -> int | None:
    """Return where credentials begin whose URL is cut off by the end."""
    match = CUT_URL.search(data, max(0, len(data) - CUT_URL_BYTES)) if b"://" in data else None
    return None if match is None else match.start(1)
