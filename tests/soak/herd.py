"""Run random handlers in slots, tame and hostile ones, and judge each end."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.faults.animals import Animal, animals
from tests.faults.cage import Cages, run_tasks
from tests.faults.ends import check_end
from tests.faults.processes import Process, descendants, descriptors, is_minder
from tests.soak.census import Census, take_census
from tests.unit.executor.bench import Bench

__all__ = ["TAME", "Deck", "Herd"]

TAME: Final = Path(__file__).with_name("tame")
PATIENCE_S: Final = 10.0  # for idle children that are let go, until they count as survivors
LET_GO_S: Final = 5.0  # for descriptors, on a busy machine
MAX_WRONG: Final = 20  # told one by one


class Deck:
    """Every handler once, then each as often as its weight, shuffled; and again when it is used up."""

    def __init__(self, herd: Sequence[Animal], rng: random.Random) -> None:
        self._all = [animal for animal in herd for _ in range(animal.end.weight)]
        self._rng = rng
        once = [animal for animal in herd if animal.end.weight]
        self._left = rng.sample(once, len(once))
        self.is_first_round = True

    @classmethod
    def of_everything(cls, seed: int) -> Deck:
        """Return one of the zoo and of the tame handlers."""
        return cls([*animals(), *animals(folder=TAME)], random.Random(seed))

    def draw(self) -> Animal:
        """Take one."""
        if not self._left:
            self.is_first_round = False
            self._left = self._rng.sample(self._all, len(self._all))
        return self._left.pop()


class Herd:
    """Slots that run what a deck gives, and what became of it."""

    def __init__(self, it: Bench, cages: Cages, deck: Deck, slots: int, idle: int) -> None:
        self._it = it
        self._cages = cages
        self._deck = deck
        self._slots = slots
        self._idle = idle  # children that may stay
        self._started = time.monotonic()
        self.ends: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.survivors: list[str] = []
        self.taken: list[Census] = []

    @property
    def at_s(self) -> float:
        """Return how long it goes on."""
        return time.monotonic() - self._started

    async def live(self, for_s: float, runs: int | None = None) -> None:
        """Run until the time or the number of runs is over, then wait for rest and count."""
        until_s, until_runs = self.at_s + for_s, float("inf") if runs is None else self._it.runs + runs
        async with asyncio.TaskGroup() as group:
            for _ in range(self._slots):
                group.create_task(self._fill(until_s, until_runs))
        await self._rest()
        self.taken.append(take_census(self.at_s, self._it.runs, is_warm_up=self._deck.is_first_round))

    async def _fill(self, until_s: float, until_runs: float) -> None:
        while self.at_s < until_s and self._it.runs < until_runs:
            await self._one(self._deck.draw())

    async def _one(self, animal: Animal) -> None:
        """Run one handler, patient on a busy machine, and compare its end with what it must be."""
        patient = animal._replace(end=msgspec.structs.replace(animal.end, limit_s=60.0))
        self._cages.take_in(animal)
        try:
            outcome = await run_tasks(self._it, patient)
            self.ends[str(outcome.error.kind) if outcome.error else "success"] += 1
            check_end(outcome, animal.end)
        except (AssertionError, TimeoutError) as exc:
            if len(self.wrong) < MAX_WRONG:
                self.wrong.append(f"{animal.name}: {type(exc).__name__}: {exc}"[:1000])
                print(f"wrong end: {self.wrong[-1]}", file=sys.stderr, flush=True)

    async def _rest(self) -> None:
        """Wait until nothing is left but the minder and idle children; what stays is a survivor."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            left = self._left()
            is_calm = len(left) <= self._idle and not any(one.is_zombie for one in left)
            if is_calm and self._it.is_tidy:  # large folders are emptied beside further runs
                await self._let_go()
                return
            await asyncio.sleep(0.02)
        self.survivors += [f"{one.pid} {one.state} {one.command}" for one in self._left()]

    async def _let_go(self) -> None:
        """Wait a moment for the pipes of a child that has just ended; what leaks stays open."""
        until = time.monotonic() + LET_GO_S
        while self.taken and len(descriptors()) > self.taken[-1].descriptors:
            if time.monotonic() > until:
                return
            await asyncio.sleep(0.02)

    def _left(self) -> list[Process]:
        return [one for one in descendants() if not is_minder(one)]
