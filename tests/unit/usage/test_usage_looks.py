"""When the meter looks, and what it makes of looks between which processes end; on scripted readings."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Iterable

import pytest

from tests.unit.usage.burner import Burner
from worker.clock import SystemClock
from worker.minder.cpu_group import CpuGroup
from worker.minder.memory_group import MemoryGroup
from worker.usage.meter import Meter
from worker.usage.process import Key, ProcessReading, read_tree
from worker.usage.process_files import ProcessFiles
from worker.usage.run_group import RunGroup
from worker.usage.source import Source, source_of
from worker.usage.usage import Usage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MIB = 1 << 20


class SetClock(SystemClock):
    """A clock that stands where the test puts it."""

    mono_s = 100.0

    def mono(self) -> float:
        """Return the time that was set."""
        return self.mono_s


class ListedCpu(CpuGroup):
    """A group that says one thing after another, and then nothing."""

    def __init__(self, counted: list[tuple[float, float]]) -> None:
        """Take what it says."""
        super().__init__(2, "/nowhere")
        self.counted = counted

    def used_s(self) -> tuple[float, float] | None:
        """Return the next."""
        return self.counted.pop(0) if self.counted else None


class HeldMemory(MemoryGroup):
    """A group that holds 50 MiB."""

    def used_bytes(self) -> int | None:
        """Return what it holds."""
        return 50 * MIB


def sampled(meter: Meter, clock: SetClock, seconds: Iterable[int]) -> Usage:
    """Take a sample at each second; return the last."""
    usages = []
    for second in seconds:
        clock.mono_s = 100.0 + second
        usages.append(meter.sample())
    return usages[-1]


def test_in_a_control_group_processes_are_looked_at_seldom() -> None:
    """At the start, then at most every ten seconds; the group tells CPU and memory meanwhile."""
    looks: list[float] = []
    clock = SetClock()

    def counting(pid: int, known: Iterable[Key], is_full: bool) -> dict[Key, ProcessReading]:
        looks.append(clock.mono_s - 100.0)
        return read_tree(pid, known, is_full)

    group = RunGroup(ListedCpu([(1.0, 0.5)] * 10), HeldMemory(2, "/nowhere"))
    source = Source(counting, "process_clock", "proc_stat")
    meter = Meter(os.getpid(), clock, source=source, group=group)
    meter.start()
    usage = sampled(meter, clock, range(1, 10))
    assert looks == [0.0, 1.0]
    assert (usage.cpu_s, usage.methods["cpu_user_s"]) == (0.0, "cgroup")
    assert usage.coverage["cpu_user_s"] == 1.0
    assert usage.coverage["disk_read_bytes"] == pytest.approx(1 / 9, abs=1e-3)
    assert usage.ram_average_bytes == 50 * MIB


def test_a_tree_that_costs_much_is_looked_at_less_often() -> None:
    """Hundreds of processes cost milliseconds: no more than 0.2 % of a core goes into their CPU."""
    looks: list[float] = []
    clock = SetClock()
    own = next(iter(read_tree(os.getpid(), is_full=True).values()))
    many = {Key(-number, 1): own._replace(key=Key(-number, 1), ram_bytes=None) for number in range(4)}

    def costly(pid: int, known: Iterable[Key], is_full: bool) -> dict[Key, ProcessReading]:
        looks.append(clock.mono_s - 100.0)
        until_s = time.thread_time() + 0.0045
        while time.thread_time() < until_s:
            pass
        return {own.key: own, **many}

    meter = Meter(os.getpid(), clock, source=Source(costly, "process_clock", "proc_stat"))
    meter.start()
    for second in range(1, 9):
        clock.mono_s = 100.0 + second
        meter.sample()
    assert looks == [0.0, 1.0, 2.0, 5.0, 8.0]  # the first in full, then walks of 4.5 ms, three seconds apart
    meter.sample(is_last=True)
    assert looks[-1] == 8.0
    assert len(looks) == 6


def with_counters(key: Key, own_s: float, reaped_s: float, written_bytes: int) -> dict[Key, ProcessReading]:
    """Return a reading of a process of this one, by key."""
    reading = ProcessReading(key, os.getpid(), 1, own_s, 0.0, reaped_s, 0.0, reaped_s > 0, is_exact=True)
    return {key: reading._replace(read_bytes=0, written_bytes=written_bytes)}


def scripted(looks: list[dict[Key, ProcessReading]]) -> Meter:
    """Return a meter that is given one reading of the tree after the other."""
    source = Source(lambda pid, known, is_full: looks.pop(0), "process_clock", "proc_stat")
    return Meter(os.getpid(), SystemClock(), source=source)


def test_a_child_that_ends_while_its_tree_is_read_counts_once() -> None:
    """Its parent was read before it waited for it, and it is gone when its turn comes: read again."""
    root, child = Key(os.getpid(), 1), Key(-1, 1)
    early = with_counters(root, 1.0, 0.0, 0)
    reaped = with_counters(root, 1.0, 3.0, 4096)
    looks = [early, early | with_counters(child, 3.0, 0.0, 4096), early, reaped, reaped]
    meter = scripted(looks)
    meter.start()
    for _ in range(2):
        meter.sample(is_last=True)
    usage = meter.sample(is_last=True)
    assert usage.cpu_s == 3.0
    assert usage.disk_written_bytes == 4096
    assert looks == []


def test_a_child_that_nobody_waits_for_costs_one_more_reading_and_is_kept() -> None:
    """Where it was gone before a whole reading and nobody has its counters, nobody will."""
    root, child = Key(os.getpid(), 1), Key(-1, 1)
    alone = with_counters(root, 1.0, 0.0, 0)
    looks = [alone, alone | with_counters(child, 3.0, 0.0, 4096), alone, alone, alone]
    meter = scripted(looks)
    meter.start()
    for _ in range(2):
        meter.sample(is_last=True)
    assert len(looks) == 1
    usage = meter.sample(is_last=True)
    assert (usage.cpu_s, usage.disk_written_bytes) == (3.0, 4096)


def test_a_tree_in_which_processes_end_all_the_time_is_read_thrice_at_most() -> None:
    """One goes with each reading; the agent has other things to do."""
    root = with_counters(Key(os.getpid(), 1), 1.0, 0.0, 0)
    children = [with_counters(Key(-number, 1), 1.0, 0.0, 0) for number in range(5)]
    trees = [dict(itertools.chain.from_iterable(one.items() for one in children[gone:])) for gone in range(6)]
    looks = [root, *(root | tree for tree in trees)]
    meter = scripted(looks)
    meter.start()
    meter.sample(is_last=True)
    assert len(looks) == 5
    usage = meter.sample(is_last=True)
    assert len(looks) == 2
    assert usage.cpu_s == 5.0


def test_shared_pages_are_counted_at_most_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel walks every page of every process for them."""
    counted: list[float] = []
    clock = SetClock()

    def counting(readings: dict[Key, ProcessReading]) -> tuple[int, str]:
        counted.append(clock.mono_s - 100.0)
        return 1, "tree_pss_sampled"

    monkeypatch.setattr("worker.usage.books.held_by_tree", counting)  # what counts them, and when, is asked
    with Burner() as burner:
        below = int(burner.order("nursery(0)"))
        meter = Meter(burner.pid, clock)
        meter.start()
        for second in range(1, 33):
            clock.mono_s = 100.0 + second
            meter.sample()
        os.kill(below, signal.SIGKILL)
    assert counted == [0.0, 1.0, 11.0, 21.0, 31.0]


def test_of_a_group_that_vanished_the_last_figures_stay() -> None:
    """They are of an earlier time, which their coverage says; nothing becomes 0."""
    clock, counted = SetClock(), [(1.0, 0.25), (3.0, 0.75)]
    group = RunGroup(cpu=ListedCpu(counted))
    meter = Meter(os.getpid(), clock, group=group)
    meter.start()
    usage = sampled(meter, clock, (1, 2))
    assert (usage.cpu_user_s, usage.cpu_system_s) == (1.5, 0.5)
    assert usage.coverage["cpu_user_s"] == 0.5
    ended = meter.finish()
    assert (ended.cpu_s, ended.complete) == (2.0, False)
    assert "control group" in ended.reasons["cpu_user_s"]


def test_the_last_look_is_what_the_end_of_a_living_process_is_told_from() -> None:
    """It says who is left there, and nothing is read twice."""
    looks: list[bool] = []
    clock = SetClock()

    def counting(pid: int, known: Iterable[Key], is_full: bool) -> dict[Key, ProcessReading]:
        looks.append(is_full)
        return read_tree(pid, known, is_full, files)

    with Burner() as burner:
        files = ProcessFiles(burner.pid)
        child = int(burner.order("nursery(0)"))
        meter = Meter(burner.pid, clock, source=source_of(files)._replace(read_tree=counting))
        meter.start()
        left = meter.look_last()
        files.close()
        clock.mono_s = 103.0
        usage = meter.finish()
        burner.order(f"os.kill({child}, 9) or os.waitpid({child}, 0)")
    assert left is not None
    assert left.child_pids == frozenset({child})
    assert 0 < (left.anonymous_bytes or 0) < 100 * MIB
    assert looks == [True, True]
    assert (usage.complete, usage.wall_s, usage.coverage["cpu_user_s"]) == (True, 3.0, 1.0)


def test_a_last_look_at_a_process_that_is_gone_says_so() -> None:
    """Nobody is left then, and the bill is not complete."""
    with Burner() as burner:
        meter = Meter(burner.pid, SetClock())
        meter.start()
        burner.end()
        assert meter.look_last() is None
        usage = meter.finish()
    assert not usage.complete
    assert "is gone" in usage.reasons["cpu_user_s"]
