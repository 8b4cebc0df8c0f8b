"""A figure: what was measured, how much, and how to read it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

__all__ = ["Figure", "Place", "percentile"]


class Place(Struct, frozen=True):
    """Where a figure stands in a picture of curves."""

    panel: str
    line: str
    at: float  # on the panel's axis


class Figure(Struct, frozen=True, kw_only=True):
    """One line of the table; `value` is None where this machine does not tell, `note` says why."""

    name: str
    value: float | None
    unit: str
    note: str = ""
    place: Place | None = None

    def shown(self) -> str:
        """Return the value with three digits that mean something."""
        if self.value is None:
            return "unknown"
        digits = 0 if self.value == 0 else max(0, 2 - math.floor(math.log10(abs(self.value))))
        return f"{self.value:,.{digits}f}"


def percentile(values: Sequence[float], ratio: float) -> float:
    """Return the value that this part of all does not exceed (nearest rank); there is at least one."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(ratio * len(ranked)) - 1)]
