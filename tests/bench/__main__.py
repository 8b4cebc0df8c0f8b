"""Measure the main path: `python -m tests.bench [--quick|--full] [--only PART] [--json] [--save]`.

Starts the real server and real agents as processes, gives them tasks, and prints what it cost: all figures,
and last those that people ask for, beside their targets. Leaves nothing behind, unless --save puts the
figures into docs/benchmarks.md. Exit codes: 0; 1, something failed or was cut; 3, a count is worse than what
is committed.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import structs

from tests.bench import steps
from tests.bench.figure import Figure
from tests.bench.guard import GUARD, keep, spreads, worse
from tests.bench.host import busy_note, describe_host
from tests.bench.plan import Played, Step, play, say
from tests.bench.report import as_json, as_summary, as_table, durability, save
from tests.bench.store import KINDS, Sizes

__all__ = ["main", "tell"]

BUILD: Final = Path(__file__).resolve().parents[2] / "build"  # on a real disk, where /tmp may be memory
FAILED: Final = 1
IS_WORSE: Final = 3
BAR: Final = "!" * 78


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        prog="make bench ARGS=…", description="Measure the main path, in ten minutes at the most."
    )
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        "--quick", action="store_true", help="a tenth of the work: is it alive, roughly how fast"
    )
    amount.add_argument("--full", action="store_true", help="everything in its long form: an hour or so")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the tables")
    parser.add_argument("--only", choices=steps.ONLY, metavar="PART", help=", ".join(steps.ONLY))
    parser.add_argument(
        "--pending", type=numbers_of, metavar="N,…", help="with --only store: so many pending tasks in a job"
    )
    parser.add_argument(
        "--done",
        type=int,
        default=0,
        metavar="N",
        help="with --only store: so many finished tasks beside",
    )
    parser.add_argument(
        "--kind",
        choices=KINDS,
        help="the store under the main path (SQLite); with --only store: this one alone",
    )
    parser.add_argument(
        "--only-tasks", action="store_const", const="tasks", dest="only", help="the same as --only tasks"
    )
    parser.add_argument(
        "--times",
        type=int,
        default=1,
        metavar="N",
        help="with --only guard: so often; tells the spread of each",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help=f"with --only guard --times N: write the steady counts to {GUARD.name}",
    )
    parser.add_argument("--save", action="store_true", help="add the figures to docs/benchmarks.md")
    options = parser.parse_args(arguments)
    if options.keep and (options.only != "guard" or options.times < 2):
        parser.error("--keep goes with --only guard and --times 2 or more: it keeps what hardly differs")
    return options


def numbers_of(text: str) -> tuple[int, ...]:
    """Return numbers that are separated by commas."""
    return tuple(int(part) for part in text.split(","))


def sizes_of(options: argparse.Namespace, usual: Sizes) -> Sizes:
    """Return how much of the store is measured."""
    return structs.replace(
        usual,
        pending=options.pending or usual.pending,
        done=options.done,
        kinds=(options.kind,) if options.kind else KINDS,
    )


def plan(options: argparse.Namespace, folder: Path) -> list[Step]:
    """Return what is done."""
    kind = options.kind or KINDS[0]
    long, quick, usual = steps.LONG_AMOUNTS, steps.QUICK_AMOUNTS, steps.Amounts()
    if options.only:
        is_usual = not options.full and options.only.startswith(("guard", "tasks", "curves"))
        amounts = quick if options.quick else usual if is_usual else long
        return steps.only(options.only, folder, kind, amounts, sizes_of(options, amounts.store))
    if options.full:
        return steps.full(folder, kind, sizes_of(options, long.store))
    return steps.usual(folder, kind, quick if options.quick else usual)


def measure(options: argparse.Namespace) -> list[Played]:
    """Do it as often as was asked for."""
    BUILD.mkdir(exist_ok=True)
    runs = []
    for time in range(options.times):
        if options.times > 1:
            say(f"run {time + 1} of {options.times}")
        with tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD) as folder:
            runs.append(play(plan(options, Path(folder))))
    return runs


def tell(figures: Sequence[Figure], kind: str, path: Path = GUARD) -> int:
    """Say loudly what is worse than what is committed; return the exit code."""
    lines = worse(figures, path) if kind == KINDS[0] else []  # what the other store asks of it is not kept
    if lines:
        said = "\n".join(f"!! {line}" for line in lines)
        title = f"!! bench: WORSE by more than a tenth{busy_note()}"
        print(f"{BAR}\n{title}\n{said}\n{BAR}", file=sys.stderr, flush=True)
    return IS_WORSE if lines else 0


def main(arguments: Sequence[str]) -> int:
    """Measure and print; return the exit code."""
    options = read_arguments(arguments)
    host, kind = describe_host(), options.kind or KINDS[0]
    kept = durability(kind)
    runs = measure(options)
    figures = runs[-1].figures
    summary = as_summary(figures)
    text = f"{host}\n{kept}\n\n{as_table(figures)}" + (f"\n\n{summary}" if summary else "")
    print(as_json(host, kept, figures, worse(figures)) if options.json else text)
    if options.times > 1:
        found = spreads([run.figures for run in runs])
        print("\n".join(one.shown() for one in found), file=sys.stderr)
        if options.keep:
            keep(found)
            say(f"kept in {GUARD.name}")
            return 0
    if options.save:
        command = shlex.join(["python", "-m", "tests.bench", *arguments])
        say(f"saved to {save(command, host, kept, figures)}")
    return tell(figures, kind) or (0 if all(run.is_whole for run in runs) else FAILED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
