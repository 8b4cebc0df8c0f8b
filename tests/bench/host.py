"""The machine that the figures are from, and what its disk takes for a sync."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.bench.figure import Figure
from tests.bench.world import environment

__all__ = ["busy_note", "describe_host", "measure_help", "measure_sync"]

SYNCS: Final = 100
STARTS: Final = 7
BUSY: Final = 4.0  # who waits for each CPU; the bench itself is two


def describe_host() -> str:
    """Return the machine in one line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown CPU",
    )
    cpus = len(os.sched_getaffinity(0))
    return f"{cpus} CPUs ({model}), Linux {platform.release()}, Python {platform.python_version()}"


def busy_note() -> str:
    """Return what to think of counts of the last minute; "" where the machine had time for them."""
    load, cpus = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load / cpus < BUSY:
        return ""
    return f" (at a load of {load:.0f} on {cpus} CPUs, where runs last and are told of: count again without)"


def measure_sync(folder: Path) -> Figure:
    """Return what an appended block and its fdatasync take where database and journal lie."""
    times: list[float] = []
    descriptor = os.open(folder / "sync", os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        for _ in range(SYNCS):
            begun = time.perf_counter()
            os.write(descriptor, bytes(4096))
            os.fdatasync(descriptor)
            times.append((time.perf_counter() - begun) * 1e3)
    finally:
        os.close(descriptor)
    return Figure(
        name="write of 4 KiB and fdatasync",
        value=statistics.median(times),
        unit="ms",
        note="the disk's share",
    )


def measure_help() -> Figure:
    """Return how long `millhand --help` takes."""
    times: list[float] = []
    for _ in range(STARTS):
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-P", "-m", "worker.cli.main", "--help"],
            stdout=subprocess.DEVNULL, timeout=30, check=True, env=environment(),
        )  # fmt: skip
        times.append(time.perf_counter() - begun)
    return Figure(
        name="millhand --help", value=statistics.median(times), unit="s", note=f"median of {STARTS}"
    )
