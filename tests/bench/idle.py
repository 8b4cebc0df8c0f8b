"""What agents that wait for work cost a server: each holds one long poll, on a connection of its own."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.bench.caller import Caller
from tests.bench.figure import Figure, percentile
from tests.bench.proc import cpu_of_living_s, pss_of_tree_bytes
from tests.bench.world import TOKEN, BenchError, Server, running_server

__all__ = ["FILES", "measure_idle"]

FILES: Final = 20_000  # descriptors; each agent has one at either end
COMING_S: Final = 120.0
ROOM: Final = 500  # descriptors beside those of connections
PICKED_UP: Final = 100  # tasks that come while all of them wait
TYPE: Final = "bench-noop"


def measure_idle(folder: Path, counts: tuple[int, ...], still_s: float) -> list[Figure]:
    """Let so many wait at one server, one number after another; return what each of them costs it."""
    allowed = raise_files()
    figures: list[Figure] = []
    with running_server(folder) as (server, caller):
        empty = pss_of_tree_bytes(server.pid)
        for count in (count for count in counts if count <= allowed):
            with waiters(server, count) as program:
                wait_for(program, count)
                figures += cost(server, count, empty, still_s)
                figures += pick_up(caller, program, count)
    return figures


def raise_files() -> int:
    """Allow as many descriptors as may be; return how many agents can wait then."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted - ROOM


@contextmanager
def waiters(server: Server, count: int) -> Iterator[subprocess.Popen[str]]:
    """Let so many agents wait in a process of their own, which says a line for each task that one gets."""
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.waiters", server.url, TOKEN, str(count)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield program
    finally:
        program.terminate()
        program.wait(COMING_S)
        assert program.stdout is not None
        program.stdout.close()


def wait_for(program: subprocess.Popen[str], count: int) -> None:
    """Return once all of them wait."""
    assert program.stdout is not None
    if (line := program.stdout.readline()) != f"{count} wait\n":
        raise BenchError(f"of {count} agents some do not wait: {line!r}")


def cost(server: Server, count: int, empty: int | None, still_s: float) -> list[Figure]:
    """Return CPU and memory for each of them while nothing comes; each polls again once a minute."""
    before, begun = cpu_of_living_s(server.pid), time.perf_counter()
    time.sleep(still_s)
    after, passed_s = cpu_of_living_s(server.pid), time.perf_counter() - begun
    memory = pss_of_tree_bytes(server.pid)
    note = f"{count:,} agents wait, {passed_s:.0f} s"
    cpu = None if before is None or after is None else (after - before) / passed_s
    grown = None if memory is None or empty is None else (memory - empty) / count / 1024
    return [
        Figure(name="idle agents, CPU of the server", value=cpu and cpu * 100, unit="%", note=note),
        Figure(name="idle agents, CPU for each", value=cpu and cpu / count * 1e6, unit="µs/s", note=note),
        Figure(
            name="idle agents, memory of the server", value=memory and memory / 2**20, unit="MiB", note="PSS"
        ),
        Figure(name="idle agents, memory for each", value=grown, unit="KiB", note=note),
    ]


def pick_up(caller: Caller, program: subprocess.Popen[str], count: int) -> list[Figure]:
    """Create tasks one by one; return how long it took until one of them all had it listed."""
    job = caller.create_job(TYPE)
    assert program.stdout is not None
    times = []
    for _ in range(PICKED_UP):
        begun_ns = time.time_ns()
        task = caller.create_task(job, TYPE)
        for line in program.stdout:
            told, at_ns = line.split()
            if told == task:  # else one of before, listed again as its claim took longer than a second
                times.append((int(at_ns) - begun_ns) / 1e6)
                break
        else:
            raise BenchError("the agents ended")
    return [
        Figure(
            name=f"idle agents, POST of a task → listed by one, p{ratio * 100:.0f}",
            value=percentile(times, ratio),
            unit="ms",
            note=f"{count:,} agents wait, {PICKED_UP} tasks",
        )
        for ratio in (0.5, 0.99)
    ]
