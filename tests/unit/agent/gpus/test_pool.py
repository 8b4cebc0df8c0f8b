"""Who has which GPU."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tests.unit.agent.stub_api import task
from tests.unit.placement.machines import A100, GIB, L4, machine
from worker.agent.gpus.pool import Gpus
from worker.api.models import Task
from worker.api.wire import ErrorKind, ResultCode
from worker.clock import SystemClock
from worker.config import AgentConfig
from worker.executor.outcome import Outcome, RunError
from worker.machine.facts import Gpu
from worker.machine.gpu_look import DeviceLook, Look
from worker.machine.gpu_watch import GpuWatch
from worker.usage.usage import Usage

CONFIG = AgentConfig(state_dir=Path("/nowhere"))
SECOND_L4 = Gpu(uuid="GPU-3", name="NVIDIA L4", memory_bytes=24 * GIB)


def needing(**requires: Any) -> Task:
    """Return a task with requirements."""
    return task(parameters={"requires": requires})


def test_each_gpu_belongs_to_one_run_at_a_time() -> None:
    """A third run of one GPU waits until one of two is given back."""
    gpus = Gpus(machine(L4, SECOND_L4), CONFIG)
    first, second = gpus.take(needing(gpus=1)), gpus.take(needing(gpus=1))
    assert first
    assert second
    assert {*first, *second} == {"GPU-1", "GPU-3"}
    assert gpus.unmet(needing(gpus=1)) != ()
    assert gpus.take(needing(gpus=1)) is None
    gpus.give_back("task-1", first)
    assert gpus.unmet(needing(gpus=1)) == ()
    assert gpus.take(needing(gpus=1)) == first


def test_a_task_that_requires_no_gpu_gets_none() -> None:
    """Its GPU time is 0 and true."""
    gpus = Gpus(machine(L4), CONFIG)
    assert gpus.take(task()) == ()
    assert gpus.take(needing(gpus=1)) == ("GPU-1",)


def test_a_handlers_gpus_are_given_where_its_task_says_nothing_of_gpus() -> None:
    """What the task says wins, also that it wants none; other types go without."""
    gpus = Gpus(machine(L4, SECOND_L4), CONFIG, handlers={"noop": 1})
    assert len(gpus.take(task()) or ()) == 1
    assert gpus.take(needing(gpus=0)) == ()
    assert gpus.take(task(type="other")) == ()
    assert len(gpus.take(needing(cpus=1)) or ()) == 1
    assert gpus.unmet(task()) != ()
    assert gpus.take(task()) is None
    assert Gpus(machine(), CONFIG, handlers={"noop": 1}).unmet(task()) != ()


@pytest.mark.parametrize("requires", ["odd", 7, ["gpus"]])
def test_what_cannot_be_read_stays_so_whatever_the_handler_wants(requires: Any) -> None:
    """A task that nobody understands is left alone."""
    gpus = Gpus(machine(L4), CONFIG, handlers={"noop": 1})
    assert gpus.unmet(task(parameters={"requires": requires})) != ()


def test_the_kind_of_gpu_counts_among_those_that_are_free() -> None:
    """A free GPU of another kind is none."""
    gpus = Gpus(machine(L4, A100), CONFIG)
    assert gpus.take(needing(gpus=1, gpuType="A100")) == ("GPU-2",)
    assert gpus.unmet(needing(gpus=1, gpuType="A100")) != ()
    assert gpus.take(needing(gpus=1, gpuType="A100")) is None
    assert gpus.unmet(needing(gpus=1, gpuType="L4")) == ()


def test_a_gpu_may_be_given_to_several_runs_and_the_emptiest_comes_first() -> None:
    """As many as are configured; a task for two GPUs gets two different ones."""
    gpus = Gpus(machine(L4, SECOND_L4), structs.replace(CONFIG, gpu_runs=2))
    assert gpus.take(needing(gpus=1)) == ("GPU-1",)
    assert gpus.take(needing(gpus=2)) == ("GPU-3", "GPU-1")
    assert gpus.take(needing(gpus=2)) is None
    assert gpus.take(needing(gpus=1)) == ("GPU-3",)
    assert gpus.take(needing(gpus=1)) is None
    gpus.give_back("task-1", ["GPU-1", "GPU-3"])
    assert sorted(gpus.take(needing(gpus=2)) or ()) == ["GPU-1", "GPU-3"]


def test_a_task_that_is_left_is_told_what_ails_the_gpus() -> None:
    """Each of those that would suit it, and no other."""
    crashed = RunError(kind=ErrorKind.CRASHED, message="SIGSEGV")
    gpus = Gpus(machine(L4, A100), CONFIG)
    for number in range(3):
        gpus.judge(
            f"task-{number}",
            ["GPU-1"],
            Outcome(code=ResultCode.FAILED, error=crashed, usage=Usage(wall_s=1.0)),
        )
    assert gpus.unmet(needing(gpus=1)) == ()
    first, second = gpus.unmet(needing(gpus=1, gpuType="L4"))
    assert "fewer are free" in first
    assert second.startswith("GPU-1: it is in quarantine")


def test_where_nvml_does_not_answer_no_gpu_is_given() -> None:
    """Not even one that was well a moment ago; a task without a GPU is none of this."""

    async def live() -> None:
        watch = GpuWatch({}, SystemClock(), program=["/nonexistent"])
        gpus = Gpus(machine(L4), CONFIG, watch)
        await gpus.look()
        (_, reason) = gpus.unmet(needing(gpus=1))
        assert reason == "GPU-1: its state is not known: the GPUs were not looked at yet"
        assert gpus.take(needing(gpus=1)) is None
        assert gpus.take(task()) == ()
        assert await gpus.are_well([])
        assert not await gpus.are_well(["GPU-1"])

    asyncio.run(live())


class Told(GpuWatch):
    """A watch that a test feeds with looks."""

    def __init__(self) -> None:
        """All is well."""
        super().__init__({}, SystemClock(), program=["/nonexistent"])
        self.error = None
        self.listeners: list[Callable[[Look], None]] = []

    def listen(self, listener: Callable[[Look], None]) -> Callable[[], None]:
        """Remember who is to be told."""
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def tell(self, **fields: Any) -> None:
        """Tell of the L4."""
        for listener in self.listeners:
            listener(Look(devices=(DeviceLook(uuid="GPU-1", **fields),)))


def test_a_critical_event_is_known_until_the_agent_starts_again() -> None:
    """A helper that was killed and started anew knows none of what the one before saw."""
    watch = Told()
    gpus = Gpus(machine(L4), CONFIG, watch)
    watch.tell(xid=43)
    assert gpus.trouble("GPU-1") is None
    watch.tell(error="GPU is lost", xid=79)
    assert gpus.trouble("GPU-1") == "GPU is lost"
    watch.tell()
    watch.tell(xid=31)
    assert "Xid 79" in str(gpus.trouble("GPU-1"))
    assert gpus.take(needing(gpus=1)) is None
