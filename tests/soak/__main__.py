"""Soak the executor: `python -m tests.soak [--seconds N] [--runs N] [--slots N] [--seed S] [--json]`.

Random handlers run in slots, the zoo's hostile ones among them. Every few seconds it waits for rest and
counts. Exit code 1 where memory grows, something is left behind, or a run has a wrong end. Ctrl-C ends it
with what was counted so far, and with 130.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from tests.faults.cage import Cages, reap
from tests.faults.processes import adopting_orphans, be_interruptible, descendants
from tests.soak.census import Census
from tests.soak.herd import Deck, Herd
from tests.soak.verdict import problems_of, rest_of, slope_of
from tests.unit.executor.bench import bench
from worker.storage.spool import Spool

__all__ = ["main", "soak"]

ROUND_S = 4.0
WARM_TYPES = 5  # children of the tame handlers stay, so that most runs are of them
MIB = 2**20
SPOOL_BYTES = 1024 * MIB
INTERRUPTED = 130  # as shells have it: 128 and SIGINT


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="make soak SECONDS=…", description="Soak the executor.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--runs", type=int, help="end after so many runs instead")
    parser.add_argument("--slots", type=int, default=3, help="runs at once (3)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the order")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the text")
    return parser.parse_args(arguments)


def line(herd: Herd, one: Census) -> str:
    """Return a census as a line."""
    return (
        f"{one.at_s:7.1f} s  {one.runs:6d} runs  {one.runs / one.at_s:5.1f}/s  "
        f"RSS {one.rss_bytes / MIB:6.1f} MiB  minder {one.minder_rss_bytes / MIB:5.1f} MiB  "
        f"descriptors {one.descriptors:3d}  processes {one.processes:2d}  threads {one.threads:2d}  "
        f"zombies {one.zombies}  wrong {len(herd.wrong)}"
    )


async def soak(
    folder: Path,
    *,
    seconds: float,
    runs: int | None,
    slots: int,
    deck: Deck,
    say: bool,
    on_begun: Callable[[Herd], object] = lambda _: None,
) -> Herd:
    """Run it; return what came of it. `on_begun` is given that from the start, for who interrupts it."""
    cages = Cages(folder)
    idle = slots + WARM_TYPES
    spool = Spool(folder / "spool", SPOOL_BYTES)
    async with bench(folder, catalogue=cages, concurrency=idle, spool=spool) as it:  # type: ignore[arg-type]
        herd = Herd(it, cages, deck, slots, idle)
        on_begun(herd)
        while herd.at_s < seconds and (runs is None or it.runs < runs):
            rest_runs = None if runs is None else min(max(runs // 10, 20), runs - it.runs)
            await herd.live(min(ROUND_S, seconds - herd.at_s), rest_runs)
            for stored in (folder / "spool").glob("run-*"):
                await spool.remove(stored.name)
            if say:
                print(line(herd, herd.taken[-1]), flush=True)
    return herd


def report(herd: Herd, seed: int) -> dict[str, object]:
    """Return everything that is known at the end; a herd without a census tells next to nothing."""
    if not herd.taken:
        return {"seed": seed, "runs": 0, "survivors": herd.survivors, "wrong": herd.wrong, "problems": []}
    rest = rest_of(herd.taken)
    slope = slope_of([(one.runs, one.rss_bytes) for one in rest])
    of_minder = slope_of([(one.runs, one.minder_rss_bytes) for one in rest])
    left = [f"after the end: {one.pid} {one.state} {one.command}" for one in descendants()]
    return {
        "seed": seed,
        "runs": herd.taken[-1].runs,
        "runs_per_s": round(herd.taken[-1].runs / herd.taken[-1].at_s, 2),
        "ends": dict(herd.ends.most_common()),
        "rss_slope_mib_per_1000_runs": slope and round(slope.bytes / MIB, 3),
        "rss_slope_error_mib": slope and round(slope.error_bytes / MIB, 3),
        "minder_rss_slope_mib_per_1000_runs": of_minder and round(of_minder.bytes / MIB, 3),
        "after_warm_up": rest[0],
        "at_the_end": rest[-1],
        "survivors": herd.survivors + left,
        "wrong": herd.wrong,
        "problems": problems_of(herd.taken),
    }


def main(arguments: Sequence[str]) -> int:
    """Soak and judge; return the exit code."""
    options = read_arguments(arguments)
    be_interruptible()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    herds: list[Herd] = []
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, adopting_orphans():
        try:
            is_interrupted = is_cut_short(soaked(options, Path(folder), herds))
            found = report(herds[0], options.seed) if herds else {}
        finally:
            reap()
    print(msgspec.json.format(msgspec.json.encode(found)).decode())
    is_bad = any(found.get(name) for name in ("problems", "survivors", "wrong"))
    return 1 if is_bad else INTERRUPTED * is_interrupted


def is_cut_short(what: Coroutine[Any, Any, None]) -> bool:
    """Run it to its end or to a Ctrl-C; tell which."""
    try:
        asyncio.run(what)
    except KeyboardInterrupt:
        return True
    return False


async def soaked(options: argparse.Namespace, folder: Path, herds: list[Herd]) -> None:
    """Soak as the options say; the herd is put into a list at its start."""
    if not options.json:
        print(f"soak: {options.slots} slots, seed {options.seed}; Ctrl-C ends it", flush=True)
    await soak(
        folder,
        seconds=float("inf") if options.runs else options.seconds,
        runs=options.runs,
        slots=options.slots,
        deck=Deck.of_everything(options.seed),
        say=not options.json,
        on_begun=herds.append,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
