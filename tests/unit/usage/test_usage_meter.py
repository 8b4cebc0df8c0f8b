"""The meter against real processes: what it says is what they burnt."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from tests.unit.usage.burner import Burner
from worker.clock import SystemClock
from worker.usage.meter import Meter
from worker.usage.source import Source, read_tree_with_psutil, source_of_this_system

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MIB = 1 << 20


class SetClock(SystemClock):
    """A clock that stands where the test puts it."""

    mono_s = 100.0

    def mono(self) -> float:
        """Return the time that was set."""
        return self.mono_s


def started(burner: Burner, gpus: int = 0) -> Meter:
    """Return a meter that has begun to measure a child."""
    meter = Meter(burner.pid, SystemClock(), gpus=gpus)
    meter.start()
    return meter


def test_cpu_of_a_living_child_is_what_its_own_clock_says() -> None:
    """A sample of a warm child agrees with the child's process_time, and starts at the meter's start."""
    with Burner() as burner:
        burner.order("burn(0.1)")
        meter = started(burner)
        before_s = float(burner.order("time.process_time()"))
        burner.order("burn(0.15)")
        burnt_s = float(burner.order("time.process_time()")) - before_s
        usage = meter.finish()
    assert usage.cpu_s == pytest.approx(burnt_s, abs=0.02)
    assert usage.complete
    assert usage.methods["cpu_user_s"] == "process_clock"


def test_a_task_far_below_a_tick_still_has_its_cpu() -> None:
    """Two milliseconds are seen although the kernel's ticks are ten."""
    with Burner() as burner:
        meter = started(burner)
        burner.order("burn(0.002)")
        usage = meter.finish()
    assert usage.cpu_s is not None
    assert 0.002 <= usage.cpu_s < 0.02


def test_threads_that_ended_are_counted() -> None:
    """CPU of a thread that is no more belongs to the run."""
    with Burner() as burner:
        meter = started(burner)
        burner.order("thread(0.05)")
        usage = meter.sample()
    assert usage.cpu_s is not None
    assert usage.cpu_s >= 0.05


def test_an_ended_child_has_what_wait4_says_less_what_came_before() -> None:
    """Its CPU is exact and does not hold the baseline; its peak of RAM may have been higher, and says so."""
    with Burner() as burner:
        burner.order("burn(0.1)")
        meter = started(burner)
        burner.order("burn(0.1)")
        rusage = burner.end()
        usage = meter.finish(rusage)
    assert usage.complete == ("ram_peak_bytes" not in usage.reasons)
    assert usage.complete == (usage.methods["ram_peak_bytes"] == "wait4_maxrss")
    assert usage.methods["cpu_system_s"] == "wait4"
    assert usage.cpu_s is not None
    assert 0.1 <= usage.cpu_s <= rusage.ru_utime + rusage.ru_stime - 0.1


def test_grandchildren_that_no_sample_saw_are_counted() -> None:
    """Ten children of 20 ms each, born and reaped between two samples, are on the bill."""
    with Burner() as burner:
        meter = started(burner)
        reaped_s = float(burner.order("children(10)"))
        sampled = meter.sample()
        ended = meter.finish(burner.end())
    assert reaped_s >= 0.2
    assert sampled.cpu_s is not None
    assert sampled.cpu_s >= reaped_s - 0.02
    assert ended.cpu_s is not None
    assert ended.cpu_s >= reaped_s


def test_a_second_run_in_a_warm_child_does_not_pay_for_the_first() -> None:
    """Neither CPU nor reaped children nor the peak of the first run stand on the bill of the second."""
    with Burner() as burner:
        first = started(burner)
        burner.order("hold(64)")
        burner.order("children(5)")
        bill = first.finish()
        second = started(burner)
        burner.order("1 + 1")
        small = second.finish()
    assert bill.ram_peak_bytes is not None
    assert small.ram_peak_bytes is not None
    assert bill.ram_peak_bytes >= 64 * MIB
    assert small.ram_peak_bytes < 40 * MIB
    assert bill.cpu_s is not None
    assert bill.cpu_s >= 0.1
    assert small.cpu_s is not None
    assert small.cpu_s < 0.05


def test_an_allocation_that_was_freed_between_samples_is_in_the_peak() -> None:
    """64 MiB held and freed before any sample are seen by the kernel's high-water mark."""
    with Burner() as burner:
        meter = started(burner)
        burner.order("hold(64)")
        usage = meter.sample()
    assert usage.ram_peak_bytes is not None
    assert 64 * MIB <= usage.ram_peak_bytes < 120 * MIB
    assert usage.methods["ram_peak_bytes"] == "vm_hwm"


def test_a_file_that_a_child_had_mapped_is_never_in_its_peak() -> None:
    """128 MiB, mapped for three looks and unmapped: neither then nor at the end."""
    with tempfile.NamedTemporaryFile(dir=".", prefix=".mapped-") as file, Burner() as burner:  # on a disk
        file.write(bytes(128 * MIB))
        file.flush()
        meter = started(burner)
        burner.order(f"map_file({file.name!r})")
        usages = [meter.sample() for _ in range(3)]
        burner.order("unmap_file()")
        usages += [meter.sample(), meter.finish(burner.end())]
    assert max(usage.ram_peak_bytes or 10**12 for usage in usages) < 40 * MIB


def test_the_peak_of_a_child_that_ended_unseen_comes_from_wait4() -> None:
    """A peak after the last sample is found where it cannot have been inherited from the parent."""
    with Burner() as burner:
        meter = started(burner)
        parent_peak = peak_of(os.getpid())
        burner.order(f"hold({parent_peak // MIB + 64})")
        usage = meter.finish(burner.end())
    assert usage.methods["ram_peak_bytes"] == "wait4_maxrss"
    assert usage.ram_peak_bytes is not None
    assert usage.ram_peak_bytes > parent_peak + 60 * MIB


def test_a_peak_inherited_from_a_big_parent_is_not_the_childs() -> None:
    """ru_maxrss starts at the parent's peak; a small child of a big parent stays small."""
    block = bytearray(max(0, 150 * MIB - peak_of(os.getpid())) + MIB)
    with Burner() as burner:
        meter = started(burner)
        burner.order("1 + 1")
        rusage = burner.end()
        usage = meter.finish(rusage)
    assert len(block) > 0
    assert rusage.ru_maxrss * 1024 >= 100 * MIB
    assert usage.ram_peak_bytes is not None
    assert usage.ram_peak_bytes < 40 * MIB


def test_the_peak_of_an_earlier_runs_grandchild_is_not_this_runs() -> None:
    """ru_maxrss keeps the largest child ever waited for; after one, it says nothing of the run at hand."""
    big = peak_of(os.getpid()) // MIB + 64
    with Burner() as burner:
        burner.order(f"child_holds({big})")
        meter = started(burner)
        rusage = burner.end()
        usage = meter.finish(rusage)
    assert rusage.ru_maxrss * 1024 >= big * MIB
    assert usage.ram_peak_bytes is not None
    assert usage.ram_peak_bytes < 40 * MIB


def test_living_grandchildren_are_in_cpu_and_share_their_memory() -> None:
    """A process below the child counts while it lives, and stays counted; pages of a fork count once."""
    with Burner() as burner:
        meter = started(burner)
        pid = int(burner.order("nursery(0.05)"))
        usage = meter.sample()
        os.kill(pid, signal.SIGKILL)
        burner.order(f"os.waitpid({pid}, 0)")
        later = meter.sample()
    assert usage.methods["ram_average_bytes"] == "tree_rss_sampled+tree_pss_sampled"
    assert usage.ram_peak_bytes is not None
    assert usage.ram_peak_bytes < 20 * MIB
    assert usage.cpu_s is not None
    assert later.cpu_s is not None
    assert usage.cpu_s >= 0.05
    assert usage.cpu_s <= later.cpu_s < usage.cpu_s + 0.05


def test_an_orphan_that_was_seen_stays_on_the_bill() -> None:
    """A grandchild adopted by another process is followed, and kept after its death."""
    with Burner() as burner:
        meter = started(burner)
        pid = int(burner.order("nursery(0.06)"))
        meter.sample()
        rusage = burner.end()
        os.kill(pid, signal.SIGKILL)
        usage = meter.finish(rusage)
    assert usage.cpu_s is not None
    assert usage.cpu_s >= 0.06


def test_counters_never_go_backward() -> None:
    """Each sample is at least the one before, through births and deaths below."""
    with Burner() as burner:
        meter = started(burner)
        seen = []
        for order in ("burn(0.01)", "children(2)", "thread(0.01)", "hold(8)", "children(1)"):
            burner.order(order)
            seen.append(meter.sample())
        seen.append(meter.finish(burner.end()))
    for before, after in itertools.pairwise(seen):
        assert (after.cpu_user_s or 0) >= (before.cpu_user_s or 0)
        assert (after.cpu_system_s or 0) >= (before.cpu_system_s or 0)
        assert (after.ram_peak_bytes or 0) >= (before.ram_peak_bytes or 0)


def test_a_process_that_is_gone_gives_none_with_the_reason() -> None:
    """Nothing is guessed for a process that nobody can read."""
    with Burner() as burner:
        burner.end()
        meter = started(burner)
        usage = meter.sample()
    assert (usage.cpu_user_s, usage.cpu_system_s, usage.ram_peak_bytes) == (None, None, None)
    assert "gone" in usage.reasons["cpu_user_s"]
    assert not meter.finish().complete


def test_a_process_lost_on_the_way_leaves_its_last_sample_incomplete() -> None:
    """The last figures stay, and the bill says that they are not those of the end."""
    with Burner() as burner:
        meter = started(burner)
        burner.order("burn(0.05)")
        last = meter.sample()
        burner.end()
        usage = meter.finish()
    assert usage.cpu_s == last.cpu_s
    assert not usage.complete
    assert "gone" in usage.reasons["cpu_user_s"]


def test_a_meter_that_was_not_started_says_so() -> None:
    """A sample before the start is all None with a reason, and does not raise."""
    usage = Meter(os.getpid(), SystemClock()).sample()
    assert usage.wall_s is None
    assert usage.reasons["cpu_user_s"] == "the meter was not started"


def test_where_the_peak_cannot_be_set_back_samples_are_used() -> None:
    """An earlier peak of the process is not taken for this run's; the reason stands on the bill."""
    source = source_of_this_system()._replace(reset_peak=lambda pid: "the peak could not be reset")
    with Burner() as burner:
        burner.order("hold(64)")
        meter = Meter(burner.pid, SystemClock(), source=source)
        meter.start()
        usage = meter.sample()
    assert usage.ram_peak_bytes is not None
    assert usage.ram_peak_bytes < 40 * MIB
    assert usage.methods["ram_peak_bytes"] == "tree_rss_sampled"
    assert usage.reasons["ram_peak_bytes"] == "the peak could not be reset"


@pytest.mark.parametrize(("gpus", "expected_s"), [(0, 0.0), (1, 2.5), (2, 5.0)])
def test_allocated_gpu_time_is_wall_times_gpus(gpus: int, expected_s: float) -> None:
    """None assigned is a true zero; each GPU counts for the whole time of the run."""
    clock = SetClock()
    meter = Meter(os.getpid(), clock, gpus=gpus)
    meter.start()
    clock.mono_s += 2.5
    usage = meter.sample()
    assert usage.wall_s == 2.5
    assert usage.gpu_allocated_s == expected_s


def test_the_portable_source_measures_the_same() -> None:
    """Where there is no /proc, psutil gives CPU within its ticks, and says that it did."""
    with Burner() as burner:
        meter = Meter(burner.pid, SystemClock(), source=Source(read_tree_with_psutil, "psutil", "psutil"))
        meter.start()
        burner.order("burn(0.1)")
        usage = meter.sample()
    assert usage.cpu_s == pytest.approx(0.1, abs=0.04)
    assert usage.methods["cpu_user_s"] == "psutil"


def peak_of(pid: int) -> int:
    """Return the highest RSS that a process ever had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
