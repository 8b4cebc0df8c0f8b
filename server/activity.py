"""What the server has done since it started, counted as it happens, for whoever asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Final

from msgspec import Struct, field

from server.http.seen import Seen

__all__ = ["BOUNDS_S", "Activity", "Durations"]

# Upper ends of the ranges that durations are counted in: from a read to a held-up disk; the last is open.
BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
HELD: Final = "wait_for_tasks"  # a list of tasks that was held: how long says nothing of the server
BESIDE: Final = "beside_the_api"
IN_BATCH: Final = "_in_batch"  # after the name of an operation that came with others in one request
GONE: Final = "gone"  # in place of a status: the client did not wait for the answer
CLAIMS: Final = {200: "won", 409: "lost"}


class Durations(Struct):
    """How long something took."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))  # by range
    sum_s: float = 0.0

    def add(self, took_s: float, times: int = 1) -> None:
        """Count one more, or so many more that took as long each."""
        self.counts[bisect_left(BOUNDS_S, took_s)] += times
        self.sum_s += took_s * times


class Activity:
    """Counters; bounded by the operations and the statuses that there are."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self.requests: dict[tuple[str, str], Durations] = {}  # by operation and status
        self.claims: Counter[str] = Counter()  # "won", "lost"
        self.leases_expired = 0
        self.connections_refused = 0
        self.jobs_deleted = 0  # by retention
        self.writes = Durations()  # of commands, until they were durable or refused

    def served(self, seen: Seen, took_s: float) -> None:
        """Count a request that has ended."""
        operation = HELD if seen.is_held else seen.operation or BESIDE
        if seen.is_part:  # so that requests can be told from what was in them
            operation += IN_BATCH
        status = GONE if seen.status is None else str(seen.status)
        if (durations := self.requests.get((operation, status))) is None:
            durations = self.requests[operation, status] = Durations()
        durations.add(took_s)
        if seen.is_claim and (result := CLAIMS.get(seen.status or 0)):
            self.claims[result] += 1

    def lost(self, runs: int) -> None:
        """Count runs whose lease expired."""
        self.leases_expired += runs

    def deleted(self) -> None:
        """Count a finished job that was not kept."""
        self.jobs_deleted += 1
