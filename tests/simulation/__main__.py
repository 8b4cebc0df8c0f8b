"""Live through histories in virtual time: `python -m tests.simulation [--seconds N] [--mix NAME] [--seed S]`.

`--bugs` puts every known bug back, one after another, and looks for a history that finds it. Exit code 1
where a history breaks a promise, or a bug stays unfound; the line that repeats it is printed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import msgspec

from tests.simulation.bugs import BUGS
from tests.simulation.hunt import SEEDS_MAX, Find, Story, hunted, processes, stories
from tests.simulation.mixes import MIXES

__all__ = ["main"]

SHOWN_MAX = 20  # histories that break something


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        prog="make simulate SECONDS=…", description="Live through random histories in virtual time."
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--rounds", type=int, help="end after so many seeds of each mix instead")
    parser.add_argument("--seed", type=int, default=0, help="the first one (0)")
    parser.add_argument("--mix", choices=MIXES, metavar="NAME", help=f"only this one of {', '.join(MIXES)}")
    parser.add_argument("--bugs", action="store_true", help="put known bugs back, and find them")
    parser.add_argument("--bug", choices=BUGS, metavar="NAME", help=f"only this one of {', '.join(BUGS)}")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the text")
    return parser.parse_args(arguments)


class Tally:
    """What came of all histories."""

    def __init__(self) -> None:
        """Begin now."""
        self.began_s = time.monotonic()
        self.histories = self.requests = 0
        self.virtual_s = 0.0
        self.broken: list[Story] = []

    def add(self, story: Story) -> None:
        """Count one."""
        self.histories += 1
        self.requests += story.told.requests
        self.virtual_s += story.told.virtual_s
        if story.told.problems:
            self.broken.append(story)

    def summary(self) -> dict[str, object]:
        """Return the figures."""
        wall_s = time.monotonic() - self.began_s
        return {
            "histories": self.histories,
            "histories_per_minute": round(self.histories / wall_s * 60),
            "requests": self.requests,
            "virtual_hours": round(self.virtual_s / 3600, 1),
            "wall_s": round(wall_s, 1),
            "broken": len(self.broken),
            "first_broken": self.broken[:SHOWN_MAX],
        }


def live(options: argparse.Namespace) -> int:
    """Live through histories; return the exit code."""
    tally = Tally()
    mixes = [options.mix] if options.mix else list(MIXES)
    seconds = float("inf") if options.rounds else options.seconds
    try:
        for story in stories(mixes, first_seed=options.seed, seconds=seconds, rounds=options.rounds):
            tally.add(story)
            if story.told.problems and not options.json and len(tally.broken) <= SHOWN_MAX:
                show(story)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; so far:\n")
    if options.json:
        sys.stdout.write(pretty(tally.summary()))
    else:
        figures = tally.summary()
        sys.stdout.write(
            f"{figures['histories']} histories ({figures['histories_per_minute']} a minute) of"
            f" {figures['virtual_hours']} virtual hours, {figures['requests']} requests:"
            f" {len(tally.broken)} broken\n"
        )
    return 1 if tally.broken else 0


def show(story: Story) -> None:
    """Print a history that breaks something, and how to repeat it."""
    sys.stdout.write(f'python -m tests.simulation --mix "{story.mix}" --seed {story.seed} --rounds 1\n')
    for problem in story.told.problems[:5]:
        sys.stdout.write(f"    {problem}\n")
    sys.stdout.flush()


def hunt(options: argparse.Namespace) -> int:
    """Find bugs; return the exit code."""
    with processes() as pool:
        names = [options.bug] if options.bug else list(BUGS)
        finds: list[Find] = []
        for find in pool.map(hunted, names):
            finds.append(find)
            if not options.json:
                where = "NOT FOUND" if find.seed is None else f"seed {find.seed}"
                sys.stdout.write(f"{find.bug:24} {where:10} {find.wall_s:6.1f} s  {find.problem[:90]}\n")
                sys.stdout.flush()
    missed = [find.bug for find in finds if find.seed is None]
    if options.json:
        sys.stdout.write(pretty({"bugs": finds, "missed": missed}))
    else:
        sys.stdout.write(f"{len(finds) - len(missed)} of {len(finds)} bugs found within {SEEDS_MAX} seeds\n")
    return 1 if missed else 0


def pretty(value: object) -> str:
    """Return JSON for people and programs."""
    return msgspec.json.format(msgspec.json.encode(value)).decode() + "\n"


def main(arguments: Sequence[str]) -> int:
    """Simulate and judge; return the exit code."""
    options = read_arguments(arguments)
    return hunt(options) if options.bugs or options.bug else live(options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
