"""Who has which GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.agent.stub_api import task
from tests.unit.placement.machines import A100, GIB, L4, machine
from worker.agent.gpus import Gpus
from worker.api.models import Task
from worker.config import AgentConfig
from worker.machine.facts import Gpu

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


def test_the_kind_of_gpu_counts_among_those_that_are_free() -> None:
    """A free GPU of another kind is none."""
    gpus = Gpus(machine(L4, A100), CONFIG)
    assert gpus.take(needing(gpus=1, gpuType="A100")) == ("GPU-2",)
    assert gpus.unmet(needing(gpus=1, gpuType="A100")) != ()
    assert gpus.take(needing(gpus=1, gpuType="A100")) is None
    assert gpus.unmet(needing(gpus=1, gpuType="L4")) == ()
