"""Kill everything everywhere: `python -m tests.chaos [--seconds N] [--seed S] [--cell NAME] [--json]`.

Rounds of a few tasks on real agents and a real server; in each, one cell of the matrix happens once. Exit
code 1 where an invariant is broken; the line that repeats it is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import structlog

from tests.chaos.cells import Cell, in_order
from tests.chaos.checker import Sort
from tests.chaos.rounds import Round, play
from tests.chaos.tally import Tally, shown
from tests.chaos.world import World, world
from tests.faults.processes import adopting_orphans
from worker.api.errors import ApiError

__all__ = ["main", "wreck"]

ROUNDS_A_WORLD = 12  # then the agents drain, and everything that is left is looked for
AGENTS = (2, 1, 2)  # in one world after another


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="make chaos SECONDS=…", description="Kill everything everywhere.")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long (120)")
    parser.add_argument("--rounds", type=int, help="end after so many rounds instead")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of order and chances")
    parser.add_argument("--cell", type=Cell.named, help="only this one, such as agent@claim-sent+delay")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the text")
    return parser.parse_args(arguments)


class Wreck:
    """Worlds one after another, until time or rounds are over."""

    def __init__(
        self, tally: Tally, cells: Sequence[Cell], *, until_s: float, rounds: int, say: bool
    ) -> None:
        """Take how long."""
        self._tally = tally
        self._cells = cells
        self._until_mono = time.monotonic() + until_s
        self._rounds = rounds
        self._say = say

    async def run(self, base: Path) -> None:
        """Play all rounds."""
        cells = self._next()
        for number in itertools.count():
            folder = base / f"world-{number}"
            folder.mkdir()
            broken = len(self._tally.broken)
            try:
                await self._live(folder, AGENTS[number % len(AGENTS)], cells)
            except (AssertionError, ApiError, subprocess.TimeoutExpired) as failure:
                self._break(Sort.STUCK, f"{type(failure).__name__}: {failure}", "a world", folder)
            if len(self._tally.broken) == broken:
                shutil.rmtree(folder)
            if self._is_over():
                return

    def _next(self) -> Iterator[Cell]:
        """Give all cells, and again those that were missed, and then all once more."""
        while True:
            yield from self._cells
            yield from self._tally.missed()

    def _is_over(self) -> bool:
        return time.monotonic() >= self._until_mono or len(self._tally.rounds) >= self._rounds

    async def _live(self, folder: Path, agents: int, cells: Iterator[Cell]) -> None:
        broken = len(self._tally.broken)
        async with world(folder, agents) as it:
            for _ in range(ROUNDS_A_WORLD):
                await self._play(it, next(cells))
                if self._is_over() or len(self._tally.broken) > broken:
                    break
            for left in await it.leave():
                self._break(Sort.LEFTOVER, left, "a world", folder)
            if code := await asyncio.to_thread(it.server.stop):
                self._break(Sort.LEFTOVER, f"the server exits with {code}", "a world", folder)

    async def _play(self, it: World, cell: Cell) -> None:
        times = sum(one.cell == cell for one in self._tally.rounds)
        one = await play(it, cell, f"{self._tally.seed} {cell} {times}")
        self._tally.add(one, self._repeat(cell), str(it.folder))
        if self._say:
            print_round(len(self._tally.rounds), one)

    def _repeat(self, cell: Cell) -> str:
        return f"python -m tests.chaos --seed {self._tally.seed} --cell {cell}"

    def _break(self, sort: Sort, says: str, where: str, folder: Path) -> None:
        self._tally.break_(sort, says, where, f"python -m tests.chaos --seed {self._tally.seed}", str(folder))


def print_round(number: int, one: Round) -> None:
    """Print a round as a line, and what is broken."""
    hit = "" if one.is_hit else "  (missed)"
    sys.stdout.write(
        f"{number:4d}  {one.cell!s:42} {one.wall_s:5.1f} s  {one.runs} runs  {len(one.kills)} kills"
        f"  {one.faults} faults{hit}\n"
    )
    for violation in one.violations:
        sys.stdout.write(f"      {violation.sort}: {violation.says}\n")
    sys.stdout.flush()


async def wreck(
    base: Path, seed: int, cells: Sequence[Cell], *, seconds: float, rounds: int | None, say: bool
) -> Tally:
    """Play; return what came of it."""
    tally = Tally(seed, cells)
    most = sys.maxsize if rounds is None else rounds
    await Wreck(tally, cells, until_s=seconds, rounds=most, say=say).run(base)
    return tally


def main(arguments: Sequence[str]) -> int:
    """Wreck and judge; return the exit code."""
    options = read_arguments(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    cells = [options.cell] if options.cell else in_order(options.seed)
    seconds = float("inf") if options.rounds else options.seconds
    if not options.json:
        sys.stdout.write(f"chaos: {len(cells)} cells, seed {options.seed}; Ctrl-C ends it\n")
    base = Path(tempfile.mkdtemp(prefix="chaos-"))
    with adopting_orphans():
        tally = asyncio.run(
            wreck(base, options.seed, cells, seconds=seconds, rounds=options.rounds, say=not options.json)
        )
    as_json = msgspec.json.format(msgspec.json.encode(tally.summary())).decode()
    sys.stdout.write(as_json + "\n" if options.json else shown(tally))
    if not tally.broken:
        shutil.rmtree(base)
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
