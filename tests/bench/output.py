"""What runs print: how fast it is taken, what that costs the agent, how fast secrets are taken out."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import psutil

from tests.bench.figure import Figure
from worker import log
from worker.clock import SystemClock
from worker.executor.assignment import Assignment
from worker.executor.catalogue import Catalogue, HandlerEntry
from worker.executor.executor import StopRequest
from worker.executor.outcome import Outcome
from worker.executor.process_executor import ProcessExecutor
from worker.executor.spawn import ProcessSpawner
from worker.executor.workdir import Workdirs
from worker.redaction import Redactor
from worker.storage.spool import Spool

__all__ = ["measure_output"]

LIMIT_S: Final = 60.0
BEAT_S: Final = 0.001
LINE: Final = b"all work and no play makes Jack a dull boy, said the overlook 0123456789\n"
HANDLER: Final = '''
import os, time
from worker import handler

@handler()
def flood(ctx, *, seconds: float):
    """Print as much as the agent takes."""
    chunk, end, total = (b"x" * 79 + b"\\n") * 13107, time.monotonic() + seconds, 0
    while time.monotonic() < end:
        total += os.write(1, chunk)
    return total
'''


def measure_output(seconds_s: float) -> list[Figure]:
    """Return the figures."""
    log.configure("warning")  # not each line that is printed
    with tempfile.TemporaryDirectory(prefix="bench-output-") as folder:
        return [*asyncio.run(measure_flood(Path(folder), seconds_s)), *measure_filter()]


async def measure_flood(folder: Path, seconds_s: float) -> list[Figure]:
    """Have a child print for so long; watch this process meanwhile."""
    async with executor_in(folder) as executor:
        await run(executor, 0.0)  # the import is not what is measured
        before_bytes, begun = resident_bytes(), time.perf_counter()
        watching = asyncio.create_task(longest_pause_s())
        outcome = await run(executor, seconds_s)
        took_s = time.perf_counter() - begun
        watching.cancel()
        pause_s = await watching
    return [
        Figure(name="output of one child, taken", value=outcome.value["value"] / took_s / 1e6, unit="MB/s"),
        Figure(
            name="growth of the agent meanwhile",
            value=(resident_bytes() - before_bytes) / 1024**2,
            unit="MiB",
        ),
        Figure(name="longest pause of its loop", value=pause_s * 1e3, unit="ms"),
    ]


@contextlib.asynccontextmanager
async def executor_in(folder: Path) -> AsyncIterator[ProcessExecutor]:
    """Give an executor with the flooding handler."""
    source = folder / "flood.py"
    await asyncio.to_thread(source.write_text, HANDLER)
    executor = ProcessExecutor(
        catalogue=Catalogue(
            entries={"flood": HandlerEntry(type="flood", target=str(source), source="bench")}
        ),
        spawner=ProcessSpawner(),
        clock=SystemClock(),
        workdirs=Workdirs(folder / "runs"),
        spool=Spool(folder / "spool", 1024**3),
        concurrency=1,
    )
    try:
        yield executor
    finally:
        await executor.aclose()


async def run(executor: ProcessExecutor, seconds_s: float) -> Outcome:
    """Run it once."""
    task = Assignment(run_id=f"run-{seconds_s}", task_id="t", type="flood", parameters={"seconds": seconds_s})
    async with asyncio.timeout(LIMIT_S):
        return await executor.execute(task, StopRequest(), lambda _: None)


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return psutil.Process().memory_info().rss


async def longest_pause_s() -> float:
    """Return how long the loop let somebody wait at most, until cancelled."""
    longest_s, last = 0.0, time.perf_counter()
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(BEAT_S)
            now = time.perf_counter()
            longest_s, last = max(longest_s, now - last - BEAT_S), now
    return longest_s


def measure_filter() -> list[Figure]:
    """Return how fast secrets are taken out of lines."""
    kinds = {
        "no secret": (Redactor(), LINE),
        "one secret": (Redactor(["mh-3f9c1d-secret"]), LINE),
        "one secret, an escape in each line": (Redactor(["mh-3f9c1d-secret"]), b"\\t" + LINE),
        "ten secrets": (Redactor(f"mh-3f9c1d-secret-{number}" for number in range(10)), LINE),
    }
    return [
        Figure(name="filter of output", value=filter_rate(*kind) / 1e6, unit="MB/s", note=name)
        for name, kind in kinds.items()
    ]


def filter_rate(redactor: Redactor, line: bytes) -> float:
    """Return bytes a second."""
    chunk, stream = line * (65536 // len(line)), redactor.stream()
    stream.feed(chunk)
    begun, total_bytes = time.perf_counter(), 0
    while time.perf_counter() - begun < 0.5:
        total_bytes += len(stream.feed(chunk))
    return total_bytes / (time.perf_counter() - begun)
