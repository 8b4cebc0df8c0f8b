"""One round: a fresh job, one cell once, everything mended and worked off, then looked at."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
import uuid
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

from msgspec import Struct

from tests.chaos.book import Execution, executions_of
from tests.chaos.cells import Cell
from tests.chaos.checker import Sort, Story, Violation, check, excused, kept
from tests.chaos.trap import Kill, Trap
from tests.chaos.waits import LIMIT_S
from tests.chaos.world import World
from worker.api.errors import ApiError, Conflict, Unknown

__all__ = ["Round", "play"]

KINDS: Final = ("plain", "flaky", "file", "plain")
LONG_KINDS: Final = ("plain", "file")
KEPT: Final = frozenset({"fenced", "reduced", "refused"})  # marks of what stays for a person
QUIET_S: Final = 60.0  # for the last reports, which are sent with growing waits
HARM_S: Final = 5.0  # for the next request of who was started again
LOOK_S: Final = 0.05
GAP_S: Final = 0.4  # between those, at most
OPEN_SHARE: Final = 0.5  # of the rounds on our server: agents that wait get tasks as they are made
REAP_LOOKS: Final = 10  # between two looks at all processes


class Round(Struct, frozen=True):
    """What came of a round."""

    cell: Cell
    is_hit: bool
    wall_s: float
    runs: int
    executions: int
    excused: int  # results that nobody could keep: who had them was killed at that moment
    kept: int  # results that are kept for a person: their runs were taken away
    kills: tuple[Kill, ...]
    faults: int
    violations: tuple[Violation, ...]


async def play(it: World, cell: Cell, seed: str) -> Round:
    """Play one."""
    started_mono = time.monotonic()
    rng = Random(seed)
    trap = Trap(cell, rng, it)
    tasks = await submit(it, trap, rng)
    job_id = trap.job_id
    assert job_id is not None
    try:
        await until_done(it, job_id, len(tasks))
        if trap.is_unfinished:
            await it.mend()
            await until_harmed(it, trap)
    finally:
        trap.disarm()
    await it.mend()
    quiet = await until_quiet(it, job_id)
    story = await tell(it, tasks, trap)
    violations = [*quiet, *check(story), *said_by(it)]
    return Round(
        cell=cell,
        is_hit=trap.is_hit,
        wall_s=round(time.monotonic() - started_mono, 1),
        runs=sum(bool(run["startedAt"]) for run in story.runs),
        executions=len(story.executions),
        excused=excused(story),
        kept=kept(story),
        kills=tuple(trap.kills),
        faults=trap.faults,
        violations=tuple(violations),
    )


def said_by(it: World) -> list[Violation]:
    """Return what the world saw itself, and forget it."""
    found = [Violation(Sort.EARLY, says) for says in it.early]
    found += [Violation(Sort.FALLEN, says) for says in it.fallen]
    it.early.clear()
    it.fallen.clear()
    return found


async def submit(it: World, trap: Trap, rng: Random) -> dict[str, str]:
    """Create a job and its tasks, whose ids the trap knows before; return the kinds of the tasks.

    On our server nobody sees them before all of them are there; or, as often, they are claimed as they come.
    """
    kinds = [rng.choice(LONG_KINDS)] if trap.chances.is_long else rng.sample(KINDS, len(KINDS))
    tasks = {str(uuid.uuid4()): kind for kind in kinds}
    trap.job_id, trap.tasks = str(uuid.uuid4()), frozenset(tasks)
    it.watcher = trap
    is_open = it.is_foreign or rng.random() < OPEN_SHARE  # the documented API cannot change it
    state = "active" if is_open else "paused"
    await it.api.create_job({"id": trap.job_id, "title": "chaos", "type": "chaos", "schedulerState": state})
    for id_, kind in tasks.items():
        parameters = {"folder": str(it.folder), "kind": kind, "beats": rng.randint(*trap.chances.beats)}
        task = {"id": id_, "jobId": trap.job_id, "type": "chaos", "parameters": parameters}
        await make(it, task)
        await asyncio.sleep(rng.uniform(0.0, GAP_S) if is_open else 0.0)
    if not is_open:
        await activate(it, trap.job_id)
    return tasks


async def make(it: World, task: dict[str, Any]) -> None:
    """Make a task, though the server be killed at what an agent does with it before it answers."""
    with contextlib.suppress(Conflict):  # an earlier try has made it
        await persistently(lambda: it.api.create_task(task))


async def activate(it: World, job_id: str) -> None:
    """Let agents see the tasks; the server may be killed at what a quick one does before it answers."""
    await persistently(lambda: it.api.update_job(job_id, {"schedulerState": "active"}))


async def persistently(request: Callable[[], Awaitable[object]]) -> None:
    """Make a request until the server does not refuse it for being dead."""
    until_mono = time.monotonic() + LIMIT_S
    while True:
        try:
            await request()
        except Unknown:
            if time.monotonic() > until_mono:
                raise
            await asyncio.sleep(LOOK_S)
        else:
            return


async def until_done(it: World, job_id: str, count: int) -> None:
    """Wait until all tasks have stopped; whatever is stuck is seen by the checker."""
    until_mono = time.monotonic() + LIMIT_S
    for look in itertools.count():
        if time.monotonic() > until_mono:
            return
        if look % REAP_LOOKS == 0:
            it.strays()  # reaps what killed agents left
        try:
            job = await it.api.get_job(job_id)
        except ApiError:  # the server is dead for now
            await asyncio.sleep(LOOK_S)
            continue
        if job.raw["taskResultSuccesses"] == count:
            return
        await asyncio.sleep(LOOK_S)


async def until_harmed(it: World, trap: Trap) -> None:
    """Wait until who was started again has told what it had to tell, or was harmed at it."""
    until_mono = time.monotonic() + HARM_S
    while trap.is_unfinished and waiting(it) and time.monotonic() < until_mono:  # noqa: ASYNC110 - of processes
        await asyncio.sleep(LOOK_S)


def waiting(it: World) -> list[str]:
    """Return the runs in the journals that wait for something, and not for a person."""
    entries = [journal.open_entries() for journal in it.journals.values()]
    return [one.run_id for each in entries for one in each.values() if KEPT.isdisjoint(one.marks)]


async def until_quiet(it: World, job_id: str) -> list[Violation]:
    """Wait until nothing is on its way: no report, no live run, no file, no process of a dead agent."""
    until_mono = time.monotonic() + QUIET_S
    while True:
        runs = await all_runs(it, job_id)
        live = [run["id"] for run in runs if not run["stoppedAt"]]
        left = [*(f"file {path}" for path in it.files()), *it.strays()]
        if not live and not waiting(it) and not left:
            return []
        if time.monotonic() > until_mono:
            return [Violation(Sort.LEFTOVER, one) for one in left]
        await asyncio.sleep(LOOK_S)


async def all_runs(it: World, job_id: str) -> list[dict[str, Any]]:
    """Return every run of a job."""
    runs: list[dict[str, Any]] = []
    while page := await it.api.list_runs(job_id=job_id, page=len(runs) // 100 + 1, per_page=100):
        runs += [run.raw for run in page]
        if len(page) < 100:
            break
    return runs


async def tell(it: World, tasks: dict[str, str], trap: Trap) -> Story:
    """Collect everything that the checker wants to know."""
    shown = {}
    for task_id in tasks:
        task = await it.api.get_task(task_id)
        shown[task_id] = (task.run_status, task.run_result)
    for journal in it.journals.values():
        journal.read(is_sure=True)
    it.book.read()
    executions: list[Execution] = executions_of(it.book.lines, tasks)
    return Story(
        tasks=tasks,
        shown=shown,
        runs=await all_runs(it, trap.job_id or ""),
        executions=executions,
        written=frozenset().union(*(journal.tokens for journal in it.journals.values())),
        entries={name: journal.open_entries() for name, journal in it.journals.items()},
        kills=trap.kills,
    )
