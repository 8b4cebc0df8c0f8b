"""How often what costs much may be looked at."""

from __future__ import annotations

__all__ = ["Pace"]

EVERY_S = 10.0  # at most


class Pace:
    """Look at once, then at most every 10 s, and more seldom where looks cost too much."""

    def __init__(self, share: float) -> None:
        """Start with the first look due; `share` of one core is what looks may take."""
        self._share = share
        self._next_mono = float("-inf")

    def is_due(self, now_mono: float) -> bool:
        """Tell whether it may be looked at now."""
        return now_mono >= self._next_mono

    def looked(self, now_mono: float, cost_s: float) -> None:
        """Take what a look cost, in CPU seconds."""
        self._next_mono = now_mono + max(EVERY_S, cost_s / self._share)
