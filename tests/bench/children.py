"""What the minder costs: its start, its memory, and starting and ending processes through it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import statistics
import time
from typing import Final

from tests.bench.figure import Figure
from tests.bench.proc import pss_of_tree_bytes
from worker.executor.life import Life
from worker.executor.minder_process import Minder

__all__ = ["measure_minder"]

STARTS: Final = 50
TREE: Final = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; echo; wait"


def measure_minder() -> list[Figure]:
    """Return the figures."""
    return asyncio.run(measure())


async def measure() -> list[Figure]:
    """Start, weigh, and use one minder."""
    minder = Minder(mark="bench")
    try:
        first_ms = await timed(minder, "true")
        single_ms = [await timed(minder, "true") for _ in range(STARTS)]
        tree_ms = [await timed_end(minder) for _ in range(STARTS)]
        memory_bytes = pss_of_tree_bytes(minder.pid)
    finally:
        await minder.aclose()
    once_ms = statistics.median(single_ms)
    note = f"median of {STARTS}"
    return [
        Figure(name="start of the minder", value=first_ms - once_ms, unit="ms", note="once an agent"),
        Figure(
            name="memory of the minder",
            value=None if memory_bytes is None else memory_bytes / 1024**2,
            unit="MiB",
            note="PSS",
        ),
        Figure(
            name="start, end and reaping of a process through the minder", value=once_ms, unit="ms", note=note
        ),
        Figure(name="end of a tree of ten processes", value=statistics.median(tree_ms), unit="ms", note=note),
    ]


async def timed(minder: Minder, program: str) -> float:
    """Return how long a program takes from its order to its burial."""
    begun = time.perf_counter()
    life, _ = await start(minder, [program])
    await life.end()
    return (time.perf_counter() - begun) * 1e3


async def timed_end(minder: Minder) -> float:
    """Return how long the end of a whole tree takes."""
    life, told = await start(minder, ["sh", "-c", TREE])
    await asyncio.to_thread(os.read, told, 1)  # all are started
    os.close(told)
    begun = time.perf_counter()
    await life.end()
    return (time.perf_counter() - begun) * 1e3


async def start(minder: Minder, argv: list[str]) -> tuple[Life, int]:
    """Start a program; return its life and what it prints."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    near, far = socket.socketpair()
    with near, far:
        order = {"argv": [shutil.which(argv[0]), *argv[1:]], "env": {"PATH": os.environ["PATH"]}}
        life = await minder.spawn(order, [far.fileno(), writing, writing])
    os.close(writing)
    if argv[0] == "true":
        os.close(reading)
    return life, reading
