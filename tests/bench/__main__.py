"""Measure the main path: `python -m tests.bench [--quick] [--only PART] [--json] [--save]`.

Starts the real server and real agents as processes, gives them tasks, and prints what it cost. Leaves nothing
behind, unless --save puts the figures into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.bench.caller import Caller
from tests.bench.children import measure_minder
from tests.bench.counts import GUARD, keep, measure_counts, worse
from tests.bench.dashboard import measure_dashboard
from tests.bench.execution import measure_execution
from tests.bench.figure import Figure
from tests.bench.host import describe_host, measure_help, measure_sync
from tests.bench.idle import measure_idle
from tests.bench.journal import measure_journal
from tests.bench.output import measure_output
from tests.bench.overhead import measure_overhead
from tests.bench.pickup import measure_idle_agent
from tests.bench.report import as_json, as_table, durability, save
from tests.bench.store import FULL, KINDS, QUICK, Sizes, measure_store
from tests.bench.stores import databases
from tests.bench.throughput import measure_throughput
from tests.bench.usage import measure_usage
from tests.bench.world import BenchError, Server, running_server

__all__ = ["main"]

SLOTS: Final = (1, 2, 8)
COUNTED: Final = (1, 8)
PARTS: Final[dict[str, Callable[[Path, bool], list[Figure]]]] = {
    "dashboard": lambda folder, is_quick: measure_dashboard(folder, 10_000 if is_quick else 100_000),
    "execution": lambda folder, is_quick: measure_execution(folder, 10 if is_quick else 60),
    "idle": lambda folder, is_quick: measure_idle(
        folder, (200,) if is_quick else (1_000, 5_000, 10_000), 5.0 if is_quick else 60.0
    ),
    "journal": lambda folder, is_quick: measure_journal(folder, 0.3 if is_quick else 3.0),
    "minder": lambda folder, is_quick: measure_minder(),
    "output": lambda folder, is_quick: measure_output(0.5 if is_quick else 3.0),
    "store": lambda folder, is_quick: measure_store(folder, QUICK if is_quick else FULL),
    "usage": lambda folder, is_quick: measure_usage(60 if is_quick else 600),
}
BUILD: Final = Path(__file__).resolve().parents[2] / "build"  # on a real disk, where /tmp may be memory


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description="Measure the main path.")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the work: is it alive, roughly how fast"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--only", choices=[*PARTS], help="this part alone, without server and agent")
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
        "--only-tasks", action="store_true", help="the main path alone: pick-up, idle, counts, throughput"
    )
    parser.add_argument(
        "--keep", action="store_true", help=f"compare later counts with these: write {GUARD.name}"
    )
    parser.add_argument("--save", action="store_true", help="add the figures to docs/benchmarks.md")
    return parser.parse_args(arguments)


def numbers_of(text: str) -> tuple[int, ...]:
    """Return numbers that are separated by commas."""
    return tuple(int(part) for part in text.split(","))


def sizes_of(options: argparse.Namespace) -> Sizes:
    """Return how much of the store is measured."""
    usual = QUICK if options.quick else FULL
    return Sizes(
        life=usual.life,
        pending=options.pending or usual.pending,
        done=options.done,
        kinds=(options.kind,) if options.kind else KINDS,
    )


def say(text: str) -> None:
    """Tell how far it is, beside the result."""
    print(text, file=sys.stderr, flush=True)


def measure(folder: Path, kind: str, *, is_quick: bool, has_parts: bool) -> list[Figure]:
    """Do everything, one measurement after the other, on one server with a fresh database."""
    say("bench: start-up and disk …")
    figures = [measure_help(), measure_sync(folder)]
    for name, part in PARTS.items() if has_parts else ():
        say(f"bench: {name} …")
        figures += part(folder, is_quick)
    with databases(folder, kind) as database:
        if database is None:
            raise BenchError(f"there is no {kind} here")
        with running_server(folder, database) as (server, caller):
            return figures + measure_main_path(server, caller, folder, is_quick=is_quick)


def measure_main_path(server: Server, caller: Caller, folder: Path, *, is_quick: bool) -> list[Figure]:
    """Give tasks to agents of a server that runs."""
    say("bench: an idle agent …")
    counts = (20, 3.0) if is_quick else (200, 30.0)
    figures = measure_idle_agent(server, caller, folder, tasks=counts[0], idle_s=counts[1])
    say("bench: a run of one second …")
    figures += measure_overhead(server, caller, folder, runs=3 if is_quick else 10)
    say("bench: counts …")
    for slots in COUNTED:
        figures += measure_counts(server, caller, folder, slots=slots, tasks=200 if is_quick else 600)
    for slots in SLOTS:
        say(f"bench: throughput with {slots} slots …")
        figures += measure_throughput(server, caller, folder, slots=slots, tasks=200 if is_quick else 2000)
    return figures


def main(arguments: Sequence[str]) -> int:
    """Measure and print; return the exit code."""
    options = read_arguments(arguments)
    host, kind = describe_host(), options.kind or KINDS[0]
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD) as folder:
        try:
            if options.only == "store":
                figures = measure_store(Path(folder), sizes_of(options))
            elif options.only:
                figures = PARTS[options.only](Path(folder), options.quick)
            else:
                has_parts = not options.only_tasks
                figures = measure(Path(folder), kind, is_quick=options.quick, has_parts=has_parts)
        except BenchError as error:
            say(f"bench: {error}")
            return 1
    text = f"{host}\n{durability(kind)}\n\n{as_table(figures)}"
    print(as_json(host, kind, figures) if options.json else text)
    is_guarded = kind == KINDS[0]  # what the other store asks of the server is not kept
    for line in worse(figures) if is_guarded else ():
        say(f"bench: WORSE by more than a tenth: {line}")
    if options.keep and is_guarded:
        keep([figure for figure in figures if figure.note.startswith("a task")])
    if options.save:
        command = shlex.join(["python", "-m", "tests.bench", *arguments])
        say(f"bench: saved to {save(command, host, kind, figures)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
