"""An agent's executor in a process of its own: `python -m tests.faults.driver FOLDER NAME…`.

For animals that would hurt the test's process, and for faults of the kernel. Runs the animals one after
another (`tame` is a tame one) and prints each end as a line of JSON; the last line says what is left.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.faults.animals import ZOO, read_animal
from tests.faults.cage import TAME, Cages, run_tasks
from tests.faults.processes import adopting_orphans, descendants, descriptors
from tests.unit.executor.bench import Bench, bench
from worker.executor.outcome import Outcome

__all__ = ["drive", "start", "works"]

ROOT = Path(__file__).resolve().parents[2]
DRIVE_TIMEOUT_S = 60.0


def works(*command: str) -> bool:
    """Tell whether a program is there and may do here what it is for."""
    try:
        return (
            subprocess.run([*command, "true"], capture_output=True, check=False, timeout=10).returncode == 0
        )
    except OSError:
        return False


def start(folder: Path, *names: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Start a driver in a session of its own, below other programs where they are given."""
    return subprocess.Popen(
        [*before, sys.executable, "-m", "tests.faults.driver", str(folder), *names],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )


def drive(folder: Path, *names: str, before: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Run a driver to its end; return what it printed."""
    with start(folder, *names, before=before) as process:
        try:
            told, complained = process.communicate(timeout=DRIVE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == 0, complained[-3000:]
    return [json.loads(line) for line in told.splitlines() if line.startswith("{")]  # between log lines


async def run_one(it: Bench, cages: Cages, name: str) -> Outcome:
    """Run one animal."""
    if name == TAME:
        return await it.run(TAME)
    animal = read_animal(ZOO / f"{name}.py")
    cages.take_in(animal)
    return await run_tasks(it, animal)


def told(outcome: Outcome) -> dict[str, Any]:
    """Return an end as JSON."""
    error = None if outcome.error is None else outcome.error.as_results()
    return {"code": outcome.code, "error": error, "value": outcome.value}


async def main(folder: Path, names: Sequence[str]) -> None:
    """Run all, tell each."""
    before = len(descriptors())
    async with bench(folder, catalogue=(cages := Cages(folder))) as it:  # type: ignore[arg-type]
        for name in names:
            print(json.dumps(told(await run_one(it, cages, name))), flush=True)
        is_tidy = it.is_tidy
    left = [one for one in descendants() if not one.is_zombie]
    zombies = len(descendants()) - len(left)
    leaked = len(descriptors()) - before
    counts = {"is_tidy": is_tidy, "left": len(left), "zombies": zombies, "leaked": leaked}
    print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    with adopting_orphans():  # as PID 1 of a container does
        asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
