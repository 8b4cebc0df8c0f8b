"""Many histories, on every core: until time is over, or until a bug is found that was put back."""

from __future__ import annotations

import gc
import itertools
import logging
import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager

import structlog
from msgspec import Struct

from tests.simulation.bugs import BUGS, reintroduced
from tests.simulation.histories import Told, history
from tests.simulation.mixes import MIXES

__all__ = ["SEEDS_MAX", "Find", "Story", "hunted", "stories"]

SEEDS_MAX = 1000  # within which every bug must be found
BATCH = 8  # histories at once that a process is given


class Story(Struct, frozen=True):
    """A history, and what came of it."""

    mix: str
    seed: int
    told: Told


class Find(Struct, frozen=True):
    """How a bug was found; `seed` None: it was not."""

    bug: str
    mix: str
    seed: int | None
    problem: str
    wall_s: float


def lived(mix: str, seeds: Sequence[int]) -> list[Story]:
    """Live through some histories of one mix."""
    return [Story(mix, seed, history(MIXES[mix], seed)) for seed in seeds]


def hunted(bug: str, seeds: int = SEEDS_MAX) -> Find:
    """Put a bug back, and look for the first history that shows it."""
    mix, began_s = BUGS[bug].mix, time.monotonic()
    with reintroduced(bug):
        for seed in range(seeds):
            if problems := history(MIXES[mix], seed).problems:
                return Find(bug, mix, seed, problems[0], time.monotonic() - began_s)
    return Find(bug, mix, None, "", time.monotonic() - began_s)


def stories(mixes: Sequence[str], *, first_seed: int, seconds: float, rounds: int | None) -> Iterator[Story]:
    """Live through histories, the mixes in turn, until the time or the rounds of seeds are over."""
    until_s = time.monotonic() + seconds
    seeds = itertools.count(first_seed) if rounds is None else range(first_seed, first_seed + rounds)
    batches = ((mix, batch) for batch in batched(seeds) for mix in mixes)
    with processes() as pool:
        running: set[Future[list[Story]]] = set()
        for mix, batch in batches:
            if time.monotonic() >= until_s:
                break
            running.add(pool.submit(lived, mix, batch))
            if len(running) > 2 * cores():
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for one in done:
                    yield from one.result()
        for one in running:
            yield from one.result()


@contextmanager
def processes() -> Iterator[ProcessPoolExecutor]:
    """Give a process to each core; they say nothing of what their agents log."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores(), mp_context=spawn, initializer=be_quiet) as pool:
        yield pool


def be_quiet() -> None:
    """Drop all logs, and look seldom for garbage in cycles: a history leaves little of it."""
    gc.set_threshold(100_000)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def cores() -> int:
    """Return how many histories are lived at once."""
    return os.cpu_count() or 1


def batched(seeds: Iterable[int]) -> Iterator[list[int]]:
    """Give seeds in lists of a few."""
    rest = iter(seeds)
    while batch := list(itertools.islice(rest, BATCH)):
        yield batch
