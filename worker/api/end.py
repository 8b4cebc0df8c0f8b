"""An end that comes in sight: waits and requests are cut to what is left before it."""

from __future__ import annotations

from typing import Final, Protocol

__all__ = ["End", "last_try_s", "last_wait_s"]

LAST_WAIT_SHARE: Final = 0.1  # a server that comes back is told in time
LAST_WAIT_MIN_S: Final = 0.5
LAST_TRY_SHARE: Final = 0.5  # a connection to a host that vanished must not take all that is left
LAST_TRY_MIN_S: Final = 2.0


class End(Protocol):
    """An end after which nothing is tried any more; not known at first."""

    def end_in_s(self) -> float | None:
        """Return the seconds until then; None while no end is known."""
        ...

    async def requested(self) -> None:
        """Wait until an end is known."""
        ...


def last_try_s(left_s: float) -> float:
    """Return how long one request may take when so much time is left."""
    return max(LAST_TRY_MIN_S, LAST_TRY_SHARE * left_s)


def last_wait_s(left_s: float) -> float:
    """Return how long a wait between two requests may be when so much time is left."""
    return max(LAST_WAIT_MIN_S, LAST_WAIT_SHARE * left_s)
