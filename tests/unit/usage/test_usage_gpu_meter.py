"""Whose processes are on a GPU, and the meter that listens to looks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from worker.clock import SystemClock
from worker.machine.gpu_look import DeviceLook, Look
from worker.usage.gpu import Owner
from worker.usage.gpu_meter import GpuAccounts, GpuMeter, RunMeters, is_first_namespace, owner_below
from worker.usage.meter import Meter


def test_whose_a_pid_is() -> None:
    """Its own and what is below; others that are there; and those that cannot be looked at."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        owner = owner_below(os.getpid())
        assert (owner(os.getpid()), owner(child.pid)) == (Owner.RUN, Owner.RUN)
        assert owner(os.getppid()) is Owner.STRANGER
        assert owner_below(child.pid)(os.getpid()) is Owner.STRANGER
    finally:
        child.communicate()
    gone = Owner.GONE if is_first_namespace() else Owner.HIDDEN
    assert owner_below(os.getpid())(child.pid) is gone


def test_an_agent_may_be_the_first_process_of_its_container(tmp_path: Path) -> None:
    """Then everything that it started is below pid 1, and what was put into the container is not."""
    for pid, parent in ((1, 0), (20, 1), (21, 20), (30, 0)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a) b) S {parent} 0")
    owner = owner_below(1, tmp_path)
    assert [owner(pid) for pid in (1, 20, 21, 30)] == [Owner.RUN] * 3 + [Owner.STRANGER]
    assert owner_below(20, tmp_path)(1) is Owner.STRANGER


def test_in_a_namespace_of_its_own_an_absent_pid_is_hidden(tmp_path: Path) -> None:
    """It may be one of the host."""
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to("pid:[4026532000]")
    assert owner_below(1234, tmp_path)(99) is Owner.HIDDEN


class Source:
    """Looks that a test gives."""

    def __init__(self) -> None:
        """Nobody listens."""
        self.error: str | None = None
        self.listeners: list[Callable[[Look], None]] = []
        self.asked = 0

    async def look_now(self, limit_s: float) -> Look | None:
        """Count."""
        self.asked += 1
        return None

    def listen(self, listener: Callable[[Look], None]) -> Callable[[], None]:
        """Remember."""
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)


class Jumping:
    """A clock whose time of day is set by an hour."""

    def __init__(self) -> None:
        """At the start."""
        self.jumped = timedelta()

    def now(self) -> datetime:
        """What a person says it is."""
        return datetime(2026, 1, 1, tzinfo=UTC) + self.jumped

    def mono(self) -> float:
        """It stands still."""
        return 100.0


def test_a_clock_that_is_set_leaves_nothing_to_go_by() -> None:
    """Samples carry the time of day."""
    clock = Jumping()
    meter = GpuMeter(Source(), clock, pid=1, uuids=["GPU-1"], is_exclusive=True)
    clock.jumped = timedelta(hours=1)
    assert "was set" in meter.figures(None).reasons["gpu_busy_s"]


def test_shares_of_gpus_are_counted_and_nothing_is_heard_after_the_end() -> None:
    """A third of an instance of three slices is a seventh."""
    source = Source()
    accounts = GpuAccounts(source, SystemClock(), shares={"MIG-1": 3 / 7}, runs_per_gpu=3)
    assert accounts.count(["MIG-1"]) == pytest.approx(1 / 7)
    assert accounts.meter(1, []) is None

    async def live() -> None:
        meters = RunMeters(Meter(os.getpid(), SystemClock()), accounts.meter(os.getpid(), ["MIG-1"]))
        await meters.start()
        assert len(source.listeners) == 1
        usage = await meters.finish()
        assert usage.reasons["gpu_busy_s"] == "no look at the GPU fell into the run"
        assert usage.as_details()["gpuBusySeconds"] is None
        meters.close()

    asyncio.run(live())
    assert (source.listeners, source.asked) == ([], 2)


class Ticking:
    """A clock that goes when a test says so; both times alike."""

    def __init__(self) -> None:
        """At 100 s."""
        self.at_s = 100.0

    def now(self) -> datetime:
        """The time of day."""
        return datetime.fromtimestamp(self.at_s, UTC)

    def mono(self) -> float:
        """The same."""
        return self.at_s


class Slow(Source):
    """Each look takes its time; the GPU is busy all the time, at a kW."""

    def __init__(self, clock: Ticking, took_s: float) -> None:
        """Ask the clock."""
        super().__init__()
        self.clock = clock
        self.took_s = took_s
        self.since_us = 0

    async def look_now(self, limit_s: float) -> Look | None:
        """Look at once, and answer late."""
        at_us = round(self.clock.at_s * 1e6)
        self.clock.at_s += self.took_s
        device = DeviceLook(
            uuid="GPU-1", at_us=at_us, since_us=self.since_us, looked_before_us=self.since_us,
            samples=((at_us, 100),), process_samples=(), processes=(), energy_mj=at_us,
        )  # fmt: skip
        self.since_us = at_us
        for listener in self.listeners:
            listener(Look(devices=(device,)))
        return Look(devices=(device,))


def test_the_wait_for_the_first_look_is_no_time_of_the_run() -> None:
    """The figures of time begin after it, at one moment, and so does the energy."""
    clock = Ticking()
    source = Slow(clock, took_s=0.75)
    accounts = GpuAccounts(source, clock, shares={}, runs_per_gpu=1)

    async def live() -> None:
        meters = RunMeters(Meter(os.getpid(), clock, gpus=1), accounts.meter(os.getpid(), ["GPU-1"]))
        await meters.start()
        clock.at_s += 1.0
        source.took_s = 0.0
        usage = await meters.finish()
        meters.close()
        assert (usage.wall_s, usage.gpu_allocated_s) == (1.0, 1.0)
        assert (usage.gpu_busy_s, usage.coverage["gpu_busy_s"]) == (1.0, 1.0)
        assert usage.gpu_energy_j == pytest.approx(1000.0)
        assert "gpu_energy_j" not in usage.reasons

    asyncio.run(live())
