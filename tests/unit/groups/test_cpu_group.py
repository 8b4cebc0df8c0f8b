"""The CPU time of a group, in the formats of both versions and for real."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.groups.real import in_group, opened
from tests.unit.machine.recorded import record
from worker.minder.cpu_group import CpuGroup
from worker.minder.groups import Groups

SHORT_ONES = """
import os, resource, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
for number in range(200):
    pid = os.fork()
    if pid == 0:
        if number % 2 and os.fork(): os._exit(0)  # the grandchild is nobody's to wait for
        burn(0.005)
        os._exit(0)
    os.waitpid(pid, 0)
print('burnt', flush=True)
input()
"""


def test_both_versions_are_read(tmp_path: Path) -> None:
    """Nanoseconds and ticks of v1, microseconds of v2."""
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    files = {
        "one/cpuacct.usage": "2500000000\n",
        "one/cpuacct.stat": "user 150\nsystem 100\n",
        "two/cpu.stat": "usage_usec 2500000\nuser_usec 1500000\nsystem_usec 1000000\nnice_usec 0\n",
    }
    record(tmp_path, files)
    assert CpuGroup(1, f"{tmp_path}/one").used_s() == (2.5, 100 * tick_s)
    assert CpuGroup(2, f"{tmp_path}/two").used_s() == (2.5, 1.0)


@pytest.mark.parametrize("version", [1, 2])
def test_a_group_that_is_gone_or_garbled_is_none(tmp_path: Path, version: int) -> None:
    """No files, and files of junk: not known, never 0."""
    assert CpuGroup(version, f"{tmp_path}/gone").used_s() is None
    record(tmp_path, {"cpuacct.usage": "many\n", "cpuacct.stat": "user\n", "cpu.stat": "usage_usec x\n"})
    assert CpuGroup(version, str(tmp_path)).used_s() is None


def test_pure_v1_counts_cpu_in_a_group_of_its_own(tmp_path: Path) -> None:
    """Where there is no v2 a folder of cpuacct is made too; where there is none, nothing is missed."""
    mounts = "".join(
        f"32 31 0:29 / /sys/fs/cgroup/{name} rw,relatime - cgroup cgroup rw,{name}\n"
        for name in ("memory", "pids", "cpuacct")
    )
    record(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/\n3:pids:/\n2:cpuacct:/\n",
            "proc/self/mountinfo": mounts,
            **{f"sys/fs/cgroup/{name}/cgroup.procs": "" for name in ("memory", "pids", "cpuacct")},
        },
    )
    groups = Groups.open("test", str(tmp_path))
    group = groups.make(1)
    assert group.cpu_place is not None
    assert group.cpu_place[0] == 1
    assert "/cpuacct/" in group.cpu_place[1]
    assert groups.controllers == {"memory", "pids"}
    assert groups.reason == ""
    group.remove()
    groups.close()


def test_hundreds_of_short_processes_are_counted_those_too_that_nobody_waited_for() -> None:
    """A real group: half a second of orphans of 5 ms each, which no sample of processes would see."""
    with opened("cpu") as groups:
        group = groups.make("short")
        before = group.cpu_s()
        process = in_group(group, SHORT_ONES)
        assert process.stdout is not None
        assert process.stdout.readline() == "burnt\n"
        process.communicate("\n", timeout=60)
        after = group.cpu_s()
        group.remove()
    assert before is not None
    assert after is not None
    assert after[0] - before[0] >= 1.0 - 0.01
    assert 0 <= after[1] <= after[0]
