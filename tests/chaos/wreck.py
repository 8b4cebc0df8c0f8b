"""Worlds one after another, a cell of the matrix in each of their rounds, until time or rounds are over."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from tests.chaos.cells import Cell
from tests.chaos.checker import Sort
from tests.chaos.replicas import Replicas
from tests.chaos.rounds import Round, play
from tests.chaos.servers import AnyServer, Foreign, Server
from tests.chaos.tally import Tally
from tests.chaos.world import Shape, World, world
from tests.integration.ports import free_port
from worker.api.errors import ApiError

__all__ = ["GATHERING_SHAPES", "SHAPES", "Plan", "wreck"]

ROUNDS_A_WORLD: Final = 12  # then the agents drain, and everything that is left is looked for
TRIES: Final = 5  # of a cell that is missed, before all others come again
SHAPES: Final = (Shape(2, 1), Shape(1, 2), Shape(2, 2))  # of one world after another
GATHERING_SHAPES: Final = (Shape(1, 4), Shape(2, 2))  # one slot has never two writes at once


class Plan(Struct, frozen=True, kw_only=True):
    """For how long, and on what."""

    seconds: float = float("inf")
    rounds: int = sys.maxsize
    is_until_hit: bool = False  # ends as soon as every cell was hit
    is_foreign: bool = False
    has_replicas: bool = False
    gathers: bool = False  # agents send most of their writes with others
    at_once: int = 1  # worlds beside each other
    shapes: Sequence[Shape] = SHAPES
    say: bool = False

    def options(self, shape: Shape) -> str:
        """Return what the command needs to do it again, in a world of one shape."""
        gathering = " --gathering" if self.gathers else ""
        return f"--shape {shape.agents}x{shape.slots}{gathering}" + self._server()

    def _server(self) -> str:
        if self.is_foreign:
            return " --server foreign"
        return " --server replicas" if self.has_replicas else ""


async def wreck(base: Path, tally: Tally, plan: Plan) -> None:
    """Play the cells that a tally wants, and count there."""
    await Wreck(tally, plan).run(base)


class Wreck:
    """Worlds one after another, or some beside each other."""

    def __init__(self, tally: Tally, plan: Plan) -> None:
        """Take where to count, and how long."""
        self._tally = tally
        self._plan = plan
        self._until_mono = time.monotonic() + plan.seconds
        self._worlds: set[World] = set()
        self._numbers = itertools.count()
        self._cells = self._next()

    async def run(self, base: Path) -> None:
        """Play all rounds."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._plan.at_once):
                group.create_task(self._go_on(base))

    async def _go_on(self, base: Path) -> None:
        """Play one world after another."""
        while not self._is_over():
            number = next(self._numbers)
            folder = base / f"world-{number}"
            folder.mkdir()
            shape = self._plan.shapes[number % len(self._plan.shapes)]
            server = self._server(folder, number)
            try:
                await self._live(folder, shape, server)
            except (AssertionError, ApiError, subprocess.TimeoutExpired) as failure:
                self._break(Sort.STUCK, f"{type(failure).__name__}: {failure}", folder, shape)
            if not self._is_broken(folder):
                shutil.rmtree(folder)

    def _server(self, folder: Path, number: int) -> AnyServer:
        if self._plan.is_foreign:
            return Foreign(number)
        return Replicas(folder) if self._plan.has_replicas else Server(folder, free_port())

    def _is_broken(self, folder: Path) -> bool:
        return any(one.folder == str(folder) for one in self._tally.broken)

    def _next(self) -> Iterator[Cell]:
        """Give all cells, some times again those that were missed, and then all once more."""
        while True:
            yield from self._tally.wanted
            for _ in range(TRIES - 1):
                yield from self._tally.missed()

    def _is_over(self) -> bool:
        count = len(self._tally.rounds)
        is_enough = self._plan.is_until_hit and count >= len(self._tally.wanted) and not self._tally.missed()
        return is_enough or time.monotonic() >= self._until_mono or count >= self._plan.rounds

    async def _live(self, folder: Path, shape: Shape, server: AnyServer) -> None:
        async with world(folder, shape, server, self._worlds, gathers=self._plan.gathers) as it:
            for _ in range(ROUNDS_A_WORLD):
                await self._play(it, next(self._cells), shape)
                if self._is_over() or self._is_broken(folder):
                    break
            left = await it.leave()
            answered, harmed = it.batches()
            self._tally.batches += Counter(answered=answered, harmed=harmed)
            self._tally.offers += it.offers()
            for one in left:
                self._break(Sort.LEFTOVER, one, folder, shape)
            if code := await asyncio.to_thread(server.stop):
                self._break(Sort.LEFTOVER, f"the server exits with {code}", folder, shape)

    async def _play(self, it: World, cell: Cell, shape: Shape) -> None:
        times = sum(one.cell == cell for one in self._tally.rounds)
        one = await play(it, cell, f"{self._tally.seed} {cell} {times}")
        again = f"{self._again(shape)} --cell {cell} --rounds {times + 1}"
        self._tally.add(one, again, str(it.folder))
        if self._plan.say:
            print_round(len(self._tally.rounds), one)

    def _again(self, shape: Shape) -> str:
        return f"python -m tests.chaos --seed {self._tally.seed} {self._plan.options(shape)}"

    def _break(self, sort: Sort, says: str, folder: Path, shape: Shape) -> None:
        self._tally.break_(sort, says, "a world", self._again(shape), str(folder))


def print_round(number: int, one: Round) -> None:
    """Print a round as a line, and what is broken."""
    hit = (f"  {one.kept} kept" if one.kept else "") + ("" if one.is_hit else "  (missed)")
    sys.stdout.write(
        f"{number:4d}  {one.cell!s:42} {one.wall_s:5.1f} s  {one.runs} runs  {len(one.kills)} kills"
        f"  {one.faults} faults{hit}\n"
    )
    for violation in one.violations:
        sys.stdout.write(f"      {violation.sort}: {violation.says}\n")
    sys.stdout.flush()
