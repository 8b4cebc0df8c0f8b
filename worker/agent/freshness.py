"""How long the tasks of a list are worth trying: less and less where others keep taking them first."""

from __future__ import annotations

from typing import Final

from worker.clock import Clock

__all__ = ["FRESH_S", "Freshness"]

FRESH_S: Final = (
    0.5  # our server keeps a listed task for us twice as long: there is the way of list and claim
)
FIRST_S: Final = 0.25  # of a list that all agents see, until it is known how many there are
LEAST_S: Final = 0.05  # of those, where each claim is lost: every try begins with a new list
SHORTER: Final = 4.0  # by how much after a claim that was lost
LONGER: Final = 1.2  # by how much after one that was won


class Freshness:
    """The age of the last list, and what age it may have."""

    def __init__(self, clock: Clock) -> None:
        """Begin without a list."""
        self._clock = clock
        self._shared_s = FIRST_S
        self._until_mono = float("-inf")

    @property
    def left_s(self) -> float:
        """How long the last list is fresh still; negative where it is stale."""
        return self._until_mono - self._clock.mono()

    def begin(self, *, is_shared: bool) -> None:
        """Know that a list came; a shared one shows its tasks to all agents at once."""
        self._until_mono = self._clock.mono() + (self._shared_s if is_shared else FRESH_S)

    def lose(self) -> None:
        """Know that another agent took a task of a shared list first: it may have taken more of them."""
        self._shared_s = max(LEAST_S, self._shared_s / SHORTER)

    def win(self) -> None:
        """Know that a claim was won."""
        self._shared_s = min(FRESH_S, self._shared_s * LONGER)
