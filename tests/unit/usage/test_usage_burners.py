"""Calibrated burners, with and without a control group: the bill is what the burner itself measured.

Each burner tells what it used by its own clocks, so nothing depends on how fast the machine is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.unit.groups.real import opened
from worker.clock import SystemClock
from worker.minder.cpu_group import CpuGroup
from worker.minder.groups import Group
from worker.minder.memory_group import MemoryGroup
from worker.usage.meter import Meter
from worker.usage.run_group import RunGroup
from worker.usage.rusage import Rusage
from worker.usage.usage import Usage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MIB = 1 << 20
EXACT = 0.02  # of what the burner says
OWN_S = 0.01  # what starting and answering the order costs beside what the burner counts
START = 'for file in $JOIN; do echo 0 > "$file" || exit 9; done; exec "$@"'
SCRIPT = """
import json, mmap, os, resource, sys, threading, time
kept = []
def all_s():
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    return use.ru_utime + use.ru_stime + time.process_time()
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
def duty(share, seconds):
    begun, before = time.monotonic(), time.process_time()
    while (passed := time.monotonic() - begun) < seconds:
        if time.process_time() - before < share * passed: burn(0.002)
        else: time.sleep(0.002)
    return time.process_time() - before
def in_child(work):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return pid
def short_children(count, seconds):
    before = all_s()
    for _ in range(count):
        os.waitpid(in_child(lambda: burn(seconds)), 0)
    return all_s() - before
def fork_tree(depth, seconds):
    before = all_s()
    def grow(left):
        burn(seconds)
        if left:
            for pid in [in_child(lambda: grow(left - 1)) for _ in range(2)]: os.waitpid(pid, 0)
    os.waitpid(in_child(lambda: grow(depth)), 0)
    return all_s() - before
def threads(count, seconds):
    before = time.process_time()
    def work():
        end = time.thread_time() + seconds
        while time.thread_time() < end: pass
    many = [threading.Thread(target=work) for _ in range(count)]
    for one in many: one.start()
    for one in many: one.join()
    return time.process_time() - before
def touched(size):
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, size, 4096): block[at] = 1
    kept.append(block)
    return size
def shared(size):
    block = mmap.mmap(-1, size)  # MAP_SHARED
    for at in range(0, size, 4096): block[at] = 1
    kept.append(block)
    return size
def mapped(path, size):
    with open(path, "wb") as file:
        for _ in range(size >> 20): file.write(b"x" * (1 << 20))
    with open(path, "rb") as file: block = mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ)
    kept.append(block)
    return sum(block[at] for at in range(0, size, 4096)) // ord("x") * 4096
def forks_that_share(count):
    def rest():
        os.read(0, 0)
        time.sleep(600)
    kept.append([in_child(rest) for _ in range(count)])
    time.sleep(0.05)
    return count
def end_forks():
    for pid in kept.pop():
        os.kill(pid, 9)
        os.waitpid(pid, 0)
print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps(eval(line)), flush=True)
os._exit(0)  # what an interpreter does at its end would be on the bill, and not in what it said
"""


class Rig:
    """A burner, and a meter that began with it warm."""

    def __init__(self, process: subprocess.Popen[str], group: Group | None) -> None:
        """Take a burner that is ready."""
        self.process = process
        self.group = RunGroup()
        if group is not None:
            assert group.cpu_place is not None
            assert group.memory_place is not None
            self.group = RunGroup(CpuGroup(*group.cpu_place), MemoryGroup(*group.memory_place))
        self._made = group

    def order(self, expression: str) -> Any:
        """Have the burner do something; return what it says it used."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def meter(self) -> Meter:
        """Return a meter that begins now."""
        meter = Meter(self.process.pid, SystemClock(), group=self.group)
        meter.start()
        return meter

    def end(self, meter: Meter) -> Usage:
        """Let the burner end; return its bill, as the minder's last words make it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        _, status, rusage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        counted = None if self._made is None else self._made.cpu_s()
        return meter.finish(
            Rusage(rusage.ru_utime, rusage.ru_stime, rusage.ru_maxrss, rusage.ru_inblock, rusage.ru_oublock),
            group_cpu_s=counted,
        )


@pytest.fixture(params=["group", "tree"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Start a burner, in a real control group or without one."""
    if request.param == "tree":
        with burner(None) as rig:
            yield rig
        return
    with opened("burners") as groups:
        group = groups.make("burner")
        try:
            with burner(group) as rig:
                yield rig
        finally:
            group.remove()


@contextmanager
def burner(group: Group | None) -> Iterator[Rig]:
    """Start a burner and end it."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", START, "sh", sys.executable, "-I", "-S", "-c", SCRIPT],
        env={"JOIN": " ".join(group.join_files) if group else "", "PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert process.stdout.readline() == "ready\n"
        rig = Rig(process, group)
        with closing(rig.group):
            yield rig
    finally:
        if process.returncode is None:
            process.kill()
            process.wait(timeout=60)
        process.stdin.close()
        process.stdout.close()


def is_right(cpu_s: float | None, burnt_s: float) -> bool:
    """Tell whether a bill has what was burnt: within 2 %, and what the order itself costs."""
    return cpu_s is not None and abs(cpu_s - burnt_s) <= EXACT * burnt_s + OWN_S


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_process_that_works_a_part_of_the_time(rig: Rig, share: float) -> None:
    """A quarter, a half, all of a second: while it lives and when it has ended."""
    rig.order("burn(0.2)")  # before the run: not on its bill
    meter = rig.meter()
    burnt_s = rig.order(f"duty({share}, 1.0)")
    living, ended = meter.sample(is_last=True), rig.end(meter)
    assert is_right(living.cpu_s, burnt_s), (living, burnt_s)
    assert is_right(ended.cpu_s, burnt_s), (ended, burnt_s)
    assert living.wall_s is not None
    assert living.wall_s >= 1.0


def test_hundreds_of_short_children(rig: Rig) -> None:
    """Three hundred of 4 ms, of which no sample sees one."""
    meter = rig.meter()
    burnt_s = rig.order("short_children(300, 0.004)")
    living, ended = meter.sample(), rig.end(meter)
    assert burnt_s >= 1.2
    assert is_right(living.cpu_s, burnt_s), (living, burnt_s)
    assert is_right(ended.cpu_s, burnt_s), (ended, burnt_s)


def test_a_tree_of_forks(rig: Rig) -> None:
    """Fifteen processes on four levels, each of which burns, and waits for those below it."""
    meter = rig.meter()
    burnt_s = rig.order("fork_tree(3, 0.08)")
    usage = meter.sample(is_last=True)
    assert burnt_s >= 15 * 0.08
    assert is_right(usage.cpu_s, burnt_s), (usage, burnt_s)


def test_threads(rig: Rig) -> None:
    """Four that have ended, on however many CPUs there are."""
    meter = rig.meter()
    burnt_s = rig.order("threads(4, 0.25)")
    usage = meter.sample(is_last=True)
    assert burnt_s >= 1.0
    assert is_right(usage.cpu_s, burnt_s), (usage, burnt_s)


@pytest.mark.parametrize("kind", ["touched", "shared"])
def test_memory_of_a_known_size(rig: Rig, kind: str) -> None:
    """Two hundred MiB more than before: anonymous memory, and shared memory, each within 2 %."""
    small = rig.meter().sample().ram_peak_bytes
    meter = rig.meter()
    size = rig.order(f"{kind}({200 * MIB})")
    usage = meter.sample(is_last=True)
    assert small is not None
    assert usage.ram_peak_bytes is not None
    assert usage.ram_peak_bytes - small == pytest.approx(size, rel=EXACT)


def test_pages_of_files_do_not_count(rig: Rig) -> None:
    """A hundred MiB of a file, mapped, read and in the page cache."""
    meter = rig.meter()
    small = meter.sample().ram_peak_bytes
    with tempfile.NamedTemporaryFile(dir=os.getcwd(), prefix=".mapped-") as file:  # noqa: PTH109 - on a disk
        assert rig.order(f"mapped({file.name!r}, {100 * MIB})") == 100 * MIB
        usage = meter.sample(is_last=True)
    assert small is not None
    assert usage.ram_peak_bytes is not None
    assert usage.ram_average_bytes is not None
    assert usage.ram_peak_bytes - small < 8 * MIB
    assert usage.ram_average_bytes - small < 8 * MIB


def test_pages_that_forks_share_count_once(rig: Rig) -> None:
    """A hundred MiB that five processes map are a hundred MiB."""
    meter = rig.meter()
    rig.order(f"touched({100 * MIB})")
    alone = meter.sample(is_last=True).ram_peak_bytes
    rig.order("forks_that_share(4)")
    usage = meter.sample(is_last=True)
    rig.order("end_forks()")
    assert alone is not None
    assert usage.ram_peak_bytes is not None
    assert usage.ram_peak_bytes - alone < 20 * MIB


def test_the_average_is_between(rig: Rig) -> None:
    """Half of the time with a hundred MiB, half without: half of it on average."""
    meter = rig.meter()
    small = meter.sample().ram_average_bytes
    for _ in range(10):
        rig.order("time.sleep(0.05)")
        meter.sample()
    rig.order(f"touched({100 * MIB})")
    for _ in range(10):
        meter.sample()
        rig.order("time.sleep(0.05)")
    usage = meter.sample()
    assert small is not None
    assert usage.ram_average_bytes is not None
    assert 35 * MIB < usage.ram_average_bytes - small < 65 * MIB
    assert usage.coverage["ram_average_bytes"] > 0.99


def test_what_a_warm_child_did_before_is_not_on_the_bill(rig: Rig) -> None:
    """CPU, short children and a freed block of the run before."""
    rig.order("short_children(50, 0.01)")
    rig.order(f"len(bytearray({150 * MIB}))")
    meter = rig.meter()
    burnt_s = rig.order("duty(1.0, 0.5)")
    usage = meter.sample(is_last=True)
    assert is_right(usage.cpu_s, burnt_s), (usage, burnt_s)
    assert usage.ram_peak_bytes is not None
    assert usage.ram_peak_bytes < 40 * MIB
