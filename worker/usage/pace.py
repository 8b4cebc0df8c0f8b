"""How often what costs much may be looked at."""

from __future__ import annotations

__all__ = ["Pace"]


class Pace:
    """Look at once, then at most once in a time, and more seldom where looks cost too much."""

    def __init__(self, share: float, every_s: float) -> None:
        """Start with the first look due.

        Args:
            share: of one core, what looks may take.
            every_s: the least time between two.
        """
        self._share = share
        self._every_s = every_s
        self._next_mono = float("-inf")

    def is_due(self, now_mono: float) -> bool:
        """Tell whether it may be looked at now."""
        return now_mono >= self._next_mono

    def looked(self, now_mono: float, cost_s: float) -> None:
        """Take what a look cost, in CPU seconds."""
        self._next_mono = now_mono + max(self._every_s, cost_s / self._share)
