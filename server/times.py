"""Times as the store keeps them, whole milliseconds since 1970 in UTC, and as the wire shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

__all__ = ["from_ms", "instant_of", "to_ms"]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)


def to_ms(at: datetime) -> int:
    """Return an aware time as whole milliseconds since 1970, truncated; exact, no floats."""
    return (at - EPOCH) // MILLISECOND


def from_ms(at_ms: int) -> datetime:
    """Return the aware UTC time of whole milliseconds since 1970."""
    return EPOCH + timedelta(milliseconds=at_ms)


@lru_cache(maxsize=4096)
def instant_of(at_ms: int | None) -> str | None:
    """Return the text of the wire for a stored time; None stays None."""
    if at_ms is None:
        return None
    second, ms = divmod(at_ms, 1000)
    return f"{_second(second)}{ms:03d}Z"


@lru_cache(maxsize=4096)
def _second(second: int) -> str:
    # A list shows many times of the same few seconds; the calendar is the costly part.
    # Not strftime: it writes the year 1 with one digit.
    return f"{from_ms(second * 1000).replace(tzinfo=None).isoformat()}."
