"""The average of something that is sampled at odd times."""

from __future__ import annotations

__all__ = ["Average"]


class Average:
    """Weigh samples by time: between two of them the value is taken to go straight."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.covered_s = 0.0  # between the first sample and the last
        self._area = 0.0
        self._last: tuple[float, int] | None = None

    def add(self, at_mono: float, value: int) -> None:
        """Take a sample; times never go back."""
        if self._last is not None:
            before_mono, before = self._last
            passed_s = at_mono - before_mono
            self._area += passed_s * (before + value) / 2
            self.covered_s += passed_s
        self._last = (at_mono, value)

    @property
    def value(self) -> int | None:
        """Return the average so far; of one sample itself, of none None."""
        if self.covered_s > 0:
            return round(self._area / self.covered_s)
        return None if self._last is None else self._last[1]
