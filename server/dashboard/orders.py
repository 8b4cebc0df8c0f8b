"""In which order a picture shows the tasks of a job, and which task each of its cells is."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from itertools import compress
from typing import Final

from msgspec import Struct

from server.dashboard.matrix import MOST_CELLS
from server.store.outcomes import TaskTimes

__all__ = ["MADE", "ORDERS", "SLOWEST", "Arranged", "as_made", "failed_first", "slowest_first"]

MADE: Final = "made"
SLOWEST: Final = "slowest"
ORDERS: Final = {"made": "as made", "failed": "failed first", "slowest": "slowest first"}
RANKS: Final = "frps"  # states, those first that somebody looks for


class Arranged(Struct, frozen=True):
    """The cells of a picture."""

    states: str  # a letter each
    places: array[int] | None = None  # which task each is, as they were made; None: in that order

    def task_at(self, cell: int) -> int | None:
        """Return which task lies in a cell, counted from 0 as they were made; None where none does."""
        if not 0 <= cell < len(self.states):
            return None
        return cell if self.places is None else self.places[cell]


def as_made(states: str) -> Arranged:
    """Show tasks as they were made."""
    return Arranged(states[:MOST_CELLS])


def failed_first(states: str) -> Arranged:
    """Show what failed, what runs, what waits, what succeeded; each as it was made."""
    places = array("I")
    for letter in RANKS:
        is_this: Callable[[str], bool] = letter.__eq__
        places.extend(compress(range(len(states)), map(is_this, states)))
    return placed(states, places)


def slowest_first(times: TaskTimes) -> Arranged:
    """Show what took longest, or runs for longest; what has not started comes last."""
    took = times.took_ms
    return placed(times.states, array("I", sorted(range(len(took)), key=took.__getitem__, reverse=True)))


def placed(states: str, places: array[int]) -> Arranged:
    """Return as many cells as a picture has."""
    shown = places[:MOST_CELLS]
    return Arranged("".join([states[place] for place in shown]), shown)
