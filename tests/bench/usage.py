"""What it costs to measure a run: a sample of a tree of processes, with and without a control group."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.bench.figure import Figure
from worker.clock import SystemClock
from worker.minder.cpu_group import CpuGroup
from worker.minder.groups import Group, Groups
from worker.minder.memory_group import MemoryGroup
from worker.usage.meter import Meter
from worker.usage.run_group import RunGroup

__all__ = ["measure_usage"]

SIZES: Final = (1, 10, 50)  # processes of a run
START: Final = 'for file in $JOIN; do echo 0 > "$file" || exit 9; done; exec "$@"'
TREE: Final = """
import os, sys, time
held = bytearray(os.urandom(4096)) * 1024  # 4 MiB that all share
for _ in range(int(sys.argv[1]) - 1):
    if os.fork() == 0:
        held += bytes(1 << 20)
        time.sleep(1000)
print("grown", flush=True)
time.sleep(1000)
"""


class Played(SystemClock):
    """A clock that a second passes on between two samples; only their cost is real."""

    now_s = 0.0

    def mono(self) -> float:
        """Return the time that is played."""
        return self.now_s


def measure_usage(samples: int) -> list[Figure]:
    """Return what so many samples, one a second, cost in percent of one core, costly looks among them."""
    found = [cost_of_tree(size, samples, None) for size in SIZES]
    groups = Groups.open("bench")
    try:
        for size in SIZES:
            group = groups.make(size)
            found.append(cost_of_tree(size, samples, group))
            group.remove()
    finally:
        groups.close()
    return found


def cost_of_tree(size: int, samples: int, group: Group | None) -> Figure:
    """Sample a tree of so many processes."""
    what = "tree" if group is None else "control group"
    name = f"usage of a run at 1 Hz, {what}, {size} processes"
    if group is not None and (group.cpu_place is None or group.memory_place is None):
        return Figure(name=name, value=None, unit="%", note="no control group can be made here")
    with grown(size, group) as pid:
        clock = Played()
        meter = Meter(pid, clock, group=as_run_group(group))
        meter.start()
        begun = time.thread_time()
        for _ in range(samples):
            clock.now_s += 1.0
            meter.sample()
        cost_s = time.thread_time() - begun
    return Figure(name=name, value=cost_s / samples * 100, unit="%", note=f"of a core, {samples} samples")


def as_run_group(group: Group | None) -> RunGroup | None:
    """Return the group as the meter knows it."""
    if group is None or group.cpu_place is None or group.memory_place is None:
        return None
    return RunGroup(CpuGroup(*group.cpu_place), MemoryGroup(*group.memory_place))


@contextmanager
def grown(size: int, group: Group | None) -> Iterator[int]:
    """Give the root of a tree; end all of it."""
    files = " ".join(group.join_files) if group is not None else ""
    root = subprocess.Popen(
        ["/bin/sh", "-c", START, "sh", sys.executable, "-I", "-S", "-c", TREE, str(size)],
        env={"JOIN": files, "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert root.stdout is not None
    try:
        root.stdout.readline()
        yield root.pid
    finally:
        os.killpg(root.pid, 9)
        root.wait()
        root.stdout.close()
