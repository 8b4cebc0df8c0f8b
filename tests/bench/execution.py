"""What one run costs in the executor: a no-op handler in a warm child, without server, claim and journal.

CPU is that of the best of many batches, since whoever else uses the machine makes it only larger; counts do
not depend on that. The child's part is its own, with all of its threads.
"""

from __future__ import annotations

import asyncio
import cProfile
import os
import pstats
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.bench import handlers_bench
from tests.bench.counts import counted_calls
from tests.bench.figure import Figure
from worker import log
from worker.clock import SystemClock
from worker.executor.assignment import Assignment
from worker.executor.catalogue import Catalogue, HandlerEntry
from worker.executor.executor import StopRequest
from worker.executor.process_executor import ProcessExecutor
from worker.executor.spawn import ProcessSpawner
from worker.executor.workdir import Workdirs
from worker.storage.spool import Spool

__all__ = ["measure_execution"]

TYPE: Final = "bench-stamp"
WARM_UP: Final = 50  # runs
BATCH: Final = 50  # runs
LIMIT_S: Final = 60.0  # of one run


class Spent(NamedTuple):
    """CPU seconds by whose they are."""

    loop_s: float  # of the agent's main thread
    threads_s: float  # of its others
    child_s: float
    minder_s: float


class Subject:
    """An executor with one warm child."""

    def __init__(self, executor: ProcessExecutor, spawner: ProcessSpawner) -> None:
        self._executor = executor
        self._runs = 0
        self.spawner = spawner
        self.child = 0

    async def run(self) -> None:
        """Do one run."""
        self._runs += 1
        task = Assignment(run_id=f"run-{self._runs}", task_id="t", type=TYPE)
        async with asyncio.timeout(LIMIT_S):
            outcome = await self._executor.execute(task, StopRequest(), lambda _: None)
        assert outcome.error is None, outcome.error

    async def runs(self, count: int) -> None:
        """Do some, one after the other."""
        for _ in range(count):
            await self.run()

    def spent(self) -> Spent:
        """Return what all who take part have used so far."""
        loop_s = time.thread_time()
        return Spent(loop_s, time.process_time() - loop_s, cpu_s(self.child), cpu_s(self.spawner.minder.pid))


def measure_execution(folder: Path, batches: int) -> list[Figure]:
    """Return the figures, with control groups where they can be made and without."""
    log.configure("warning")
    return [
        figure
        for has_groups in (True, False)
        for figure in asyncio.run(measure(folder / f"execution-{has_groups}", batches, has_groups=has_groups))
    ]


async def measure(folder: Path, batches: int, *, has_groups: bool) -> list[Figure]:
    """Measure with one child."""
    async with warm(folder, has_groups=has_groups) as subject:
        best = Spent(*map(min, zip(*[await spent_by_run(subject) for _ in range(batches)], strict=True)))
        counts = await counts_of(subject)
        calls = await system_calls(subject)
    names = ("agent's loop", "agent's other threads", "child", "minder")
    note = f"a no-op run, {'with control groups' if has_groups else 'without'}"
    cpu = [
        Figure(name=f"CPU of the {name}", value=max(0.0, value) * 1e6, unit="µs", note=note)  # of two clocks
        for name, value in zip(names, best, strict=True)
    ]
    return cpu + [
        Figure(name=name, value=value, unit="", note=note) for name, value in (counts | calls).items()
    ]


@asynccontextmanager
async def warm(folder: Path, *, has_groups: bool) -> AsyncIterator[Subject]:
    """Give a subject whose child has run some."""
    spawner = ProcessSpawner(has_groups=has_groups)
    entry = HandlerEntry(type=TYPE, target=str(handlers_bench.__file__), source="bench")
    executor = ProcessExecutor(
        catalogue=Catalogue(entries={TYPE: entry}),
        spawner=spawner,
        clock=SystemClock(),
        workdirs=Workdirs(folder / "runs"),
        spool=Spool(folder / "spool", 1024**3),
        concurrency=1,
        max_runs=10**9,
    )
    subject = Subject(executor, spawner)
    try:
        await subject.runs(WARM_UP)
        (subject.child,) = [life.pid for life in spawner.minder._lives.values()]
        yield subject
    finally:
        await executor.aclose()


async def spent_by_run(subject: Subject) -> Spent:
    """Return what one run of a batch costs."""
    before = subject.spent()
    await subject.runs(BATCH)
    after = subject.spent()
    return Spent(*((late - early) / BATCH for early, late in zip(before, after, strict=True)))


async def counts_of(subject: Subject) -> dict[str, float]:
    """Return how often a run calls functions, makes tasks and takes rounds of the loop."""
    loop, tasks, rounds = asyncio.get_running_loop(), 0, 0
    select = loop._selector.select  # type: ignore[attr-defined]

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        nonlocal tasks
        tasks += 1
        return asyncio.Task(coroutine, loop=loop, **options)

    def counted(timeout: float | None) -> Any:
        nonlocal rounds
        rounds += 1
        return select(timeout)

    loop.set_task_factory(make)
    loop._selector.select = counted  # type: ignore[attr-defined]
    await subject.runs(BATCH)
    loop.set_task_factory(None)
    del loop._selector.select  # type: ignore[attr-defined]
    profile = cProfile.Profile()
    profile.enable()
    await subject.runs(BATCH)
    profile.disable()
    calls = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
    return {
        "calls of functions in the loop": calls / BATCH,
        "asyncio tasks": tasks / BATCH,
        "rounds of the loop": rounds / BATCH,
    }


async def system_calls(subject: Subject) -> dict[str, float]:
    """Return how many system calls each makes, where strace is there; we are the last whom it takes.

    It would take other ones that we start with us.
    """
    pids = {"child": subject.child, "minder": subject.spawner.minder.pid, "agent": os.getpid()}
    with counted_calls(pids) as calls:
        await subject.runs(BATCH)
    return {name: count / BATCH for name, count in calls.items() if name.startswith("system calls")}


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process with all its threads (clock_getcpuclockid(3))."""
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e9
