"""Counts of a task that are committed, and what has become worse since.

Only counts that hardly differ between two runs are kept (`keep`): seconds say more of the machine than of a
change. How often functions are called differs between versions of Python, too, and is compared with the same.
"""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
from msgspec import Struct

from tests.bench.figure import Figure

__all__ = ["GUARD", "Spread", "keep", "spreads", "worse"]

GUARD: Final = Path(__file__).with_name("guard.json")
WORSE: Final = 1.10  # more than a tenth above what is committed
STEADY: Final = 0.05  # the widest spread of what is kept: half of what is told as worse
LEAST: Final = 0.05  # a task; what is smaller is chance
CALLS: Final = "calls of "  # how figures begin that depend on the version of Python
A_TASK: Final = "a task"  # how notes of counts begin


class Committed(Struct):
    """What is compared with."""

    python: str
    counts: dict[str, float]


class Spread(Struct, frozen=True):
    """One count in several runs."""

    name: str
    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def ratio(self) -> float:
        """From the least to the most, as a part of the median."""
        return (max(self.values) - min(self.values)) / self.middle if self.middle else 0.0

    @property
    def is_kept(self) -> bool:
        """Tell whether a tenth more of it is no chance."""
        return len(self.values) > 1 and self.ratio <= STEADY

    def shown(self) -> str:
        """Return it in one line."""
        least, most = min(self.values), max(self.values)
        fate = "kept" if self.is_kept else "not kept"
        return f"{self.name}: {least:.2f} to {most:.2f}, {self.ratio:.1%} of {self.middle:.2f}; {fate}"


def worse(measured: Iterable[Figure], path: Path = GUARD) -> list[str]:
    """Return what is more than a tenth above the committed counts, a line each."""
    if not path.exists():
        return []
    committed = msgspec.json.decode(path.read_bytes(), type=Committed)
    is_same_python = committed.python == python()
    return [
        f"{one.name}: {one.value:.2f} {one.note}; committed are {known:.2f}: {one.value / known:.2f} times"
        for one in measured
        if one.value is not None
        and (known := committed.counts.get(one.name)) is not None
        and (is_same_python or not one.name.startswith(CALLS))
        and one.value > known * WORSE + LEAST
    ]


def spreads(runs: Sequence[Sequence[Figure]]) -> list[Spread]:
    """Return how much each count differs between runs."""
    found = defaultdict[str, list[float]](list)
    for figures in runs:
        for one in figures:
            if one.value is not None and one.note.startswith(A_TASK):
                found[one.name].append(one.value)
    return [Spread(name, tuple(values)) for name, values in found.items()]


def keep(found: Iterable[Spread], path: Path = GUARD) -> None:
    """Write down the medians of the counts that are steady: later ones are compared with these."""
    counts = {one.name: round(one.middle, 2) for one in found if one.is_kept}
    text = msgspec.json.format(msgspec.json.encode(Committed(python(), counts)), indent=2).decode()
    temporary = path.with_suffix(".new")
    temporary.write_text(text + "\n")
    temporary.replace(path)


def python() -> str:
    """Return the version whose functions are counted."""
    return ".".join(platform.python_version_tuple()[:2])
