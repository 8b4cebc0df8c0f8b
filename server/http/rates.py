"""How many requests a token may make: a bucket for each, filled at a rate."""

from __future__ import annotations

import math
from typing import Final

from msgspec import Struct

from server.http.failure import ApiError
from worker.clock import Clock

__all__ = ["SAVED_S", "Rates"]

SAVED_S: Final = 10.0  # the time for which a token that asks for nothing saves requests
MOST_KNOWN: Final = 10_000  # tokens; then those that have saved everything are forgotten


class Bucket(Struct):
    """What a token has left, and when that was counted."""

    left: float
    at_mono: float


class Rates:
    """Counts requests of tokens; in memory, so a restart begins with full buckets."""

    def __init__(self, clock: Clock, per_s: float) -> None:
        """Allow so many in a second, on average; 0: any number."""
        self._clock = clock
        self._per_s = per_s
        self._most = max(1.0, per_s * SAVED_S)
        self._buckets: dict[str, Bucket] = {}

    def take(self, token_id: str) -> None:
        """Count a request.

        Raises:
            ApiError: 429 with ``Retry-After``, the token has none left.
        """
        if not self._per_s:
            return
        now = self._clock.mono()
        bucket = self._buckets.get(token_id) or self._new(token_id, now)
        bucket.left = min(self._most, bucket.left + (now - bucket.at_mono) * self._per_s)
        bucket.at_mono = now
        if bucket.left < 1:
            wait_s = math.ceil((1 - bucket.left) / self._per_s)
            raise ApiError(
                429,
                "rate_limited",
                f"This token makes more than {self._per_s:g} requests in a second; try again in {wait_s} s",
                {"Retry-After": str(wait_s)},
            )
        bucket.left -= 1

    def _new(self, token_id: str, now: float) -> Bucket:
        if len(self._buckets) >= MOST_KNOWN:
            self._forget_full(now)
        bucket = self._buckets[token_id] = Bucket(self._most, now)
        return bucket

    def _forget_full(self, now: float) -> None:
        self._buckets = {
            token_id: bucket
            for token_id, bucket in self._buckets.items()
            if bucket.left + (now - bucket.at_mono) * self._per_s < self._most
        }
