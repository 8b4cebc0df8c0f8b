"""The `Date` of an answer: when it is sent, to a second (RFC 9110, 6.6.1). Nothing ticks for it."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache

__all__ = ["date_now"]


def date_now() -> bytes:
    """Return the value of the header for an answer that goes out now."""
    return _date_of(int(time.time()))


@lru_cache(maxsize=1)
def _date_of(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
