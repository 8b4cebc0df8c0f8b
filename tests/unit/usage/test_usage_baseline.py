"""What a run begins with: how the one before left the process, or a look of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import pytest

from worker.clock import SystemClock
from worker.minder.cpu_group import CpuGroup
from worker.minder.memory_group import MemoryGroup
from worker.usage.look import STILL_CPU_S, STILL_S
from worker.usage.meter import Meter
from worker.usage.process import Key, ProcessReading
from worker.usage.run_group import RunGroup
from worker.usage.source import Source

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MIB = 1 << 20
ROOT = Key(os.getpid(), 1)
AT_PEAK = ProcessReading(
    ROOT, 1, 1, 5.0, 1.0, 0.0, 0.0, has_reaped=False, is_exact=True, ram_bytes=50 * MIB,
    anonymous_bytes=50 * MIB, file_bytes=10 * MIB, hwm_bytes=60 * MIB, read_bytes=0, written_bytes=4096,
)  # fmt: skip


class Scene(SystemClock):
    """One process and its group, both as the test says, and how often they were looked at."""

    def __init__(self, *readings: ProcessReading) -> None:
        """Start with what there is to be read."""
        self.at_s = 100.0
        self.used_s = 7.0
        self.readings = {reading.key: reading for reading in readings or (AT_PEAK,)}
        self.looks = 0
        self.resets = 0
        self.held_bytes: int | None = 55 * MIB

    def mono(self) -> float:
        """Return the time that was set."""
        return self.at_s

    def read_tree(self, pid: int, known: Iterable[Key], is_full: bool) -> dict[Key, ProcessReading]:
        """Return what there is."""
        self.looks += 1
        return dict(self.readings)

    def reset_peak(self, pid: int) -> str:
        """Count."""
        self.resets += 1
        return ""

    def meter(self, before: Meter | None = None) -> Meter:
        """Return the started meter of a run, after that of another."""
        scene = self

        class Cpu(CpuGroup):
            def used_s(self) -> tuple[float, float]:
                return scene.used_s, 1.0

        class Memory(MemoryGroup):
            def used_bytes(self) -> int | None:
                return scene.held_bytes

        source = Source(self.read_tree, "process_clock", "proc_stat", self.reset_peak)
        group = RunGroup(Cpu(2, "/nowhere"), Memory(2, "/nowhere"))
        baseline = None if before is None else before.baseline()
        meter = Meter(os.getpid(), self, source=source, group=group, before=baseline)
        meter.start()
        return meter

    def ended(self) -> Meter:
        """Return the meter of a run that is over; the looks of it are not counted."""
        meter = self.meter()
        meter.look_last()
        self.looks = self.resets = 0
        return meter


def test_a_run_in_a_process_that_stood_still_begins_as_the_last_one_ended() -> None:
    """Nothing is looked at but the CPU of its group, which is exact; what comes then is the new run's."""
    scene = Scene()
    before = scene.ended()
    scene.used_s += STILL_CPU_S / 2
    scene.at_s += STILL_S / 2
    meter = scene.meter(before)
    assert (scene.looks, scene.resets) == (0, 0)
    scene.used_s += 2.0
    scene.readings[ROOT] = AT_PEAK._replace(written_bytes=8192, hwm_bytes=160 * MIB)
    meter.look_last()
    usage = meter.finish()
    assert usage.complete
    assert usage.cpu_s == pytest.approx(2.0)
    assert usage.disk_written_bytes == 4096
    assert usage.ram_peak_bytes == 150 * MIB
    assert not usage.reasons


def test_a_peak_of_an_earlier_run_is_set_back() -> None:
    """Where the process once held more than it does, the mark says nothing of the next run."""
    scene = Scene(AT_PEAK._replace(hwm_bytes=500 * MIB))
    meter = scene.meter(scene.ended())
    assert (scene.looks, scene.resets) == (0, 1)
    scene.readings[ROOT] = AT_PEAK
    meter.look_last()
    assert meter.finish().ram_peak_bytes == 55 * MIB


@pytest.mark.parametrize(("cpu_s", "passed_s"), [(2 * STILL_CPU_S, 0.0), (0.0, 2 * STILL_S), (-1.0, 0.0)])
def test_a_process_that_did_something_meanwhile_is_looked_at(cpu_s: float, passed_s: float) -> None:
    """What it did between runs is no run's; nor is what may have been taken from it in a long time."""
    scene = Scene()
    before = scene.ended()
    scene.used_s += cpu_s
    scene.at_s += passed_s
    scene.readings[ROOT] = AT_PEAK._replace(written_bytes=100_000)
    meter = scene.meter(before)
    assert (scene.looks, scene.resets) == (1, 1)
    meter.look_last()
    assert meter.finish().disk_written_bytes == 0


def test_only_a_whole_look_at_a_process_alone_is_a_beginning() -> None:
    """With others below it, without a group that counts them, or where it was not seen, there is none."""
    others = Scene(AT_PEAK, AT_PEAK._replace(key=Key(-1, 1), parent_pid=os.getpid()))
    assert others.ended().baseline() is None
    uncounted = Scene()
    uncounted.held_bytes = None
    assert uncounted.ended().baseline() is None
    assert Scene().meter().baseline() is None
    told = Scene().meter()
    told.leave_out(-5)
    told.look_last()
    assert told.baseline() is None
    gone = Scene()
    meter = gone.meter()
    gone.readings.clear()
    assert meter.look_last() is None
    assert meter.baseline() is None
    assert Scene().ended().baseline() is not None
