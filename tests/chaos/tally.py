"""What a run of the matrix adds up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from tests.chaos.cells import Cell, Step, Victim
from tests.chaos.checker import Sort
from tests.chaos.rounds import Round

__all__ = ["Broken", "Tally", "shown"]


class Broken(msgspec.Struct, frozen=True):
    """A violation and how to repeat it."""

    sort: Sort
    says: str
    cell: str
    repeat: str
    folder: str


class Tally:
    """Count rounds."""

    def __init__(self, seed: int, wanted: Sequence[Cell]) -> None:
        """Start at nothing; `wanted` are the cells to be hit."""
        self.seed = seed
        self.rounds: list[Round] = []
        self.broken: list[Broken] = []
        self.wanted = wanted
        self.batches = Counter[str]()  # requests that carried several writes: answered, harmed
        self.offers = 0  # that brought a task that was claimed

    def missed(self) -> list[Cell]:
        """Return the cells that were not hit yet."""
        hit = {one.cell for one in self.rounds if one.is_hit}
        return [cell for cell in self.wanted if cell not in hit]

    def add(self, one: Round, repeat: str, folder: str) -> None:
        """Count a round."""
        self.rounds.append(one)
        for violation in one.violations:
            self.break_(violation.sort, violation.says, str(one.cell), repeat, folder)

    def break_(self, sort: Sort, says: str, cell: str, repeat: str, folder: str) -> None:
        """Note a violation."""
        self.broken.append(Broken(sort, says, cell, repeat, folder))

    def summary(self) -> dict[str, object]:
        """Return all counts."""
        kills = Counter(str(kill.victim) for one in self.rounds for kill in one.kills)
        faults = Counter[str]()
        for one in self.rounds:
            faults[str(one.cell.fault)] += one.faults
        sorts = Counter(one.sort for one in self.broken)
        missed = self.missed()
        return {
            "seed": self.seed,
            "rounds": len(self.rounds),
            "runs": sum(one.runs for one in self.rounds),
            "executions": sum(one.executions for one in self.rounds),
            "excused": sum(one.excused for one in self.rounds),
            "kept": sum(one.kept for one in self.rounds),
            "kills": dict(kills),
            "faults": {name: count for name, count in faults.items() if count},
            "batches": dict(self.batches),
            "offers": self.offers,
            **{str(sort): sorts[sort] for sort in Sort},
            "cells": len(self.wanted),
            "cells_hit": len(self.wanted) - len(missed),
            "cells_never_hit": [str(cell) for cell in missed],
            "broken": self.broken,
        }


SHOWN: Final = 40  # cells that were never hit, and violations


def shown(tally: Tally) -> str:
    """Return all counts as text, a grid of the cells that were hit, and how to repeat what broke."""
    summary = tally.summary()
    lines = [f"seed {tally.seed}"]
    for name in (
        "rounds",
        "runs",
        "executions",
        "excused",
        "kept",
        "kills",
        "faults",
        "batches",
        "offers",
        *map(str, Sort),
    ):
        count = summary[name]
        told = count if isinstance(count, int) else ", ".join(f"{who} {n}" for who, n in count.items())  # type: ignore[attr-defined]
        lines.append(f"{name:12}{told}")
    missed = tally.missed()
    lines += ["", f"cells hit: {summary['cells_hit']} of {summary['cells']}", *grid(tally.wanted, missed)]
    if missed:
        more = f" and {len(missed) - SHOWN} more" if len(missed) > SHOWN else ""
        lines.append("never hit: " + " ".join(map(str, missed[:SHOWN])) + more)
    for one in tally.broken[:SHOWN]:
        lines.append(
            f"{one.sort}: {one.says}\n    in {one.cell}; again: {one.repeat}\n    kept: {one.folder}"
        )
    return "\n".join(lines) + "\n"


def grid(wanted: Sequence[Cell], missed: Sequence[Cell]) -> Iterator[str]:
    """Say how many of the faults were combined with each victim at each step."""
    yield f"{'':18}" + "".join(f"{victim!s:>9}" for victim in Victim)
    for step in Step:
        row = f"{step!s:18}"
        for victim in Victim:
            of = sum((cell.victim, cell.step) == (victim, step) for cell in wanted)
            left = sum((cell.victim, cell.step) == (victim, step) for cell in missed)
            row += f"{f'{of - left}/{of}' if of else '':>9}"
        if row.strip() != step:
            yield row
