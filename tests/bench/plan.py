"""The steps of a measurement, one after the other: each within its limit, and what is left is told."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from msgspec import Struct

from tests.bench.figure import Figure
from tests.bench.world import BenchError

__all__ = ["OverTime", "Played", "Step", "bounded", "play", "say"]


class OverTime(KeyboardInterrupt):
    """A step had its time; of KeyboardInterrupt, so that it ends a loop of asyncio as Ctrl-C does."""


class Step(Struct, frozen=True):
    """One measurement; `about_s` is what it takes on a quiet machine, `limit_s` when it is cut."""

    name: str
    about_s: float
    limit_s: float
    do: Callable[[], list[Figure]]


class Played(Struct, frozen=True):
    """What was measured, and whether that is all."""

    figures: list[Figure]
    is_whole: bool


def play(steps: Sequence[Step]) -> Played:
    """Do all of them; one that is cut, or fails, has a figure that says so."""
    figures: list[Figure] = []
    missing = 0
    for number, step in enumerate(steps):
        left_s = sum(one.about_s for one in steps[number:])
        say(f"{number + 1} of {len(steps)}, {step.name} … ({told(left_s)} left, if nothing is in the way)")
        begun = time.monotonic()
        try:
            with bounded(step.limit_s):
                figures += step.do()
        except (OverTime, BenchError) as error:
            why = f"failed: {error}" if isinstance(error, BenchError) else f"cut after {step.limit_s:.0f} s"
            say(f"{step.name}: {why}")
            figures.append(Figure(name=step.name, value=None, unit="", note=why.partition("\n")[0]))
            missing += 1
        say(f"  took {time.monotonic() - begun:.0f} s")
    return Played(figures, is_whole=missing == 0)


@contextmanager
def bounded(limit_s: float) -> Iterator[None]:
    """Raise OverTime in the block when its time is over. For the main thread."""

    def cut(number: int, frame: FrameType | None) -> None:
        raise OverTime

    before = signal.signal(signal.SIGALRM, cut)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def told(seconds: float) -> str:
    """Return a time as people say it."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def say(text: str) -> None:
    """Tell how far it is, beside the result."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
