"""Kill everything everywhere: `python -m tests.chaos [--seconds N] [--seed S] [--cell NAME] [--json]`.

Rounds of a few tasks on real agents and a real server; in each, one cell of the matrix happens once. Exit
code 1 where an invariant is broken; the line that repeats it is printed. Ctrl-C ends it with what there is
so far, and with 130.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from tests.chaos.cells import Cell, in_order, matrix_of
from tests.chaos.tally import Tally, shown
from tests.chaos.world import Shape
from tests.chaos.wreck import GATHERING_SHAPES, SHAPES, Plan, wreck
from tests.faults.processes import adopting_orphans, be_interruptible

__all__ = ["main"]

INTERRUPTED: Final = 130  # as shells have it: 128 and SIGINT


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="make chaos SECONDS=…", description="Kill everything everywhere.")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long (120)")
    parser.add_argument("--rounds", type=int, help="end after so many rounds instead")
    parser.add_argument("--until-hit", action="store_true", help="end earlier, once every cell was hit")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of order and chances")
    parser.add_argument("--cell", type=Cell.named, help="only this one, such as agent@claim-sent+delay")
    parser.add_argument(
        "--server",
        choices=["own", "replicas", "foreign"],
        default="own",
        help="replicas: two on PostgreSQL, one of which is killed; foreign: no leases",
    )
    parser.add_argument("--gathering", action="store_true", help="agents send most writes with others")
    parser.add_argument("--shape", type=shape_of, help="only worlds of so many agents and slots, as 2x1")
    parser.add_argument("--at-once", type=int, default=1, help="worlds beside each other (1)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the text")
    return parser.parse_args(arguments)


def shape_of(text: str) -> Shape:
    """Read how large a world is."""
    agents, _, slots = text.partition("x")
    return Shape(int(agents), int(slots))


def shapes_of(options: argparse.Namespace) -> Sequence[Shape]:
    """Return how large the worlds are, one after another."""
    if options.shape:
        return [options.shape]
    return GATHERING_SHAPES if options.gathering else SHAPES


def plan_of(options: argparse.Namespace) -> Plan:
    """Return what was asked for as a plan."""
    return Plan(
        seconds=float("inf") if options.rounds else options.seconds,
        rounds=options.rounds or sys.maxsize,
        is_until_hit=options.until_hit,
        at_once=options.at_once,
        is_foreign=options.server == "foreign",
        has_replicas=options.server == "replicas",
        gathers=options.gathering,
        shapes=shapes_of(options),
        say=not options.json,
    )


def main(arguments: Sequence[str]) -> int:
    """Wreck and judge; return the exit code."""
    options = read_arguments(arguments)
    be_interruptible()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    plan = plan_of(options)
    cells = [options.cell] if options.cell else in_order(options.seed, matrix_of(is_foreign=plan.is_foreign))
    tally = Tally(options.seed, cells)
    base = Path(tempfile.mkdtemp(prefix="chaos-"))
    is_interrupted = False
    try:
        with adopting_orphans():
            asyncio.run(told_and_wrecked(base, tally, plan))
    except KeyboardInterrupt:
        is_interrupted = True
    as_json = msgspec.json.format(msgspec.json.encode(tally.summary())).decode()
    sys.stdout.write(as_json + "\n" if options.json else shown(tally))
    if not tally.broken:
        shutil.rmtree(base)
    return 1 if tally.broken else INTERRUPTED * is_interrupted


async def told_and_wrecked(base: Path, tally: Tally, plan: Plan) -> None:
    """Say what begins, and do it."""
    if plan.say:
        sys.stdout.write(f"chaos: {len(tally.wanted)} cells, seed {tally.seed}; Ctrl-C ends it\n")
        sys.stdout.flush()
    await wreck(base, tally, plan)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
