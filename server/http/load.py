"""How much is under way at once: more is refused at once, before everybody waits for everybody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from server.http.failure import ApiError

__all__ = ["MOST_BODIES_BYTES", "Load", "overloaded"]

RETRY_AFTER_S: Final = 1
MOST_BODIES_BYTES: Final = 256 * 1024 * 1024  # of all requests that are being read or worked on


def overloaded(what: str) -> ApiError:
    """Return the answer for who comes while too much is under way; nothing was done."""
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return ApiError(503, "overloaded", f"Too much at once ({what}); nothing was done, try again", headers)


class Load:
    """Counts requests that are worked on, and the bytes of their bodies."""

    def __init__(self, most_requests: int, most_bytes: int = MOST_BODIES_BYTES) -> None:
        """Refuse what comes beyond these."""
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self.requests = 0
        self.bodies_bytes = 0

    def begin(self) -> None:
        """Count a request that is worked on; `end` takes it back.

        Raises:
            ApiError: 503, there are too many.
        """
        if self.requests >= self._most_requests:
            raise overloaded(f"{self.requests} requests are under way")
        self.requests += 1

    def end(self) -> None:
        """Forget a request that was worked on."""
        self.requests -= 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Take a request out of the count while it waits for a task: it costs nothing then."""
        self.requests -= 1
        try:
            yield
        finally:
            self.requests += 1

    def add_bytes(self, size: int) -> None:
        """Count a part of a body; `forget_bytes` takes it back.

        Raises:
            ApiError: 503, all bodies together are too large.
        """
        if self.bodies_bytes + size > self._most_bytes:
            raise overloaded("the bodies of all requests are too large together")
        self.bodies_bytes += size

    def forget_bytes(self, size: int) -> None:
        """Forget a body that is not needed any more."""
        self.bodies_bytes -= size
