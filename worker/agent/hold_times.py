"""For how long a server is asked to hold a poll: agents that began together drift apart."""

from __future__ import annotations

from random import Random
from typing import Final

__all__ = ["HoldTimes"]

JITTER: Final = 0.1  # of the usual time


class HoldTimes:
    """The times of one agent's polls.

    A first one has any part of the usual time: else a fleet that was started at once would ask at
    once for ever, and so after each restart of the server.
    """

    def __init__(self, random: Random, usual_s: float) -> None:
        """Begin with a first one; `usual_s` is the longest, 0: no poll is to be held."""
        self._random = random
        self._usual_s = usual_s
        self._is_in_step = True  # perhaps with all others: they began together, or the server did

    def next_s(self) -> float:
        """Return how long to ask the server to hold the next poll: a second at least."""
        least = 0.0 if self._is_in_step else 1.0 - JITTER
        self._is_in_step = False
        return min(self._usual_s, max(self._usual_s * self._random.uniform(least, 1.0), 1.0))

    def begin_anew(self) -> None:
        """Have the next one be a first one."""
        self._is_in_step = True
