"""What a request would like of its answer (`Prefer`, RFC 7240); whoever does not know it is right, too."""

from __future__ import annotations

import re
from typing import Final

from server.http.request import Headers, Request
from worker.api.wire import BRIEFLY

__all__ = ["preferred_wait_s", "wants_little"]

RETURN: Final = re.compile(r'(?:^|,)\s*return\s*=\s*"?(minimal|representation)"?\s*(?=$|[,;])', re.IGNORECASE)
WAIT: Final = re.compile(r'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=$|[,;])', re.IGNORECASE)


def preferred_wait_s(request: Request, most_s: int) -> int:
    """Return the seconds of ``wait=N``, no more than the most; 0 where it is not asked for."""
    found = WAIT.search(_prefer(request.headers))
    return min(int(found[1]), most_s) if found else 0


def wants_little(request: Request) -> bool:
    """Tell whether ``return=minimal`` is asked for; of several wishes the first counts."""
    return request.headers.once(_want_little)


def _want_little(headers: Headers) -> bool:
    if (said := _prefer(headers)) in ("", BRIEFLY):  # as nearly all say it
        return bool(said)
    found = RETURN.search(said)
    return found is not None and found[1].lower() == "minimal"


def _prefer(headers: Headers) -> str:
    return ",".join(headers.getlist("prefer"))
