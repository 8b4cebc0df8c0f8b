"""The CPU time of a real group of cgroup v1, on a machine that has its controller."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from worker.minder.cpu_group import CpuGroup
from worker.minder.hierarchy import NoCgroup, find_hierarchy

BURN = """
import os, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
for _ in range(100):
    if os.fork() == 0:
        burn(0.005)
        os._exit(0)
    os.wait()
use = os.times()
print(use.children_user + use.children_system)
"""


def test_short_children_are_counted_to_the_nanosecond() -> None:
    """A hundred of 5 ms, by what cpuacct adds up, and no less than they say themselves."""
    try:
        version, folders = find_hierarchy("cpuacct")
        if version != 1:
            pytest.skip("cpuacct is a controller of v1, which this machine has not")
        folder = Path(folders[0], f"millhand-test-{os.getpid()}")
        folder.mkdir()
    except (NoCgroup, OSError) as exc:
        pytest.skip(f"no group of cpuacct can be made here: {exc}")
    argv = ["/bin/sh", "-c", 'echo 0 > "$0" && exec "$@"', f"{folder}/cgroup.procs"]
    argv += [sys.executable, "-I", "-S", "-c", BURN]
    try:
        group = CpuGroup(1, str(folder))
        assert group.used_s() == (0.0, 0.0)
        burnt_s = float(subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout)
        used = group.used_s()
    finally:
        folder.rmdir()
    assert used is not None
    assert burnt_s >= 0.5
    assert burnt_s * 0.98 <= used[0] < burnt_s + 0.5  # the interpreter's start and the forks are in it too
    assert 0 <= used[1] <= used[0] + 0.02  # it comes in ticks
