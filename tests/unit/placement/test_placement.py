"""An agent claims only what its machine can serve, and says why it leaves the rest."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.placement.machines import A100, GIB, L4, machine, unknown
from worker.agent.placement import gpu_count, suitable_gpus, unmet
from worker.machine.facts import Fact, Facts, Gpu

LABELS = {"pool": "render", "disk": "ssd", "tier": "2"}
NAMELESS = Gpu(uuid="GPU-3", name="NVIDIA L4")  # memory not known


@pytest.mark.parametrize(
    "requires",
    [
        None,
        {},
        {"cpus": None, "labels": None, "gpuType": None},
        {"cpus": 0, "memory": 0, "gpus": 0, "gpuMemory": 0, "labels": {}},
        {"cpus": 8},
        {"cpus": "8"},
        {"cpus": 7.5},
        {"cpus": " 0.1 "},
        {"cpus": 1e-7},
        {"memory": 16 * GIB},
        {"memory": str(16 * GIB)},
        {"memory": "16GiB"},
        {"memory": "16 gib"},
        {"memory": "16G"},
        {"memory": "16Gi"},
        {"memory": "17GB"},
        {"memory": "1.5GiB"},
        {"memory": "512m"},
        {"gpus": 2},
        {"gpus": "2"},
        {"gpus": 2.0},
        {"gpuType": "l4"},
        {"gpuType": "nvidia"},
        {"gpuType": ["H100", "A100"]},
        {"gpuType": "NVIDIA A100*"},
        {"gpuType": "*a100-sxm?-80gb"},
        {"gpuType": "*[al]100*"},
        {"gpuMemory": "24GiB"},
        {"gpuMemory": 80 * GIB},
        {"gpus": 2, "gpuMemory": "20GiB"},
        {"gpus": 1, "gpuType": "A100", "gpuMemory": "80GiB"},
        {"labels": {"pool": "render"}},
        {"labels": {"pool": None}},
        {"labels": {"tier": 2}},
        {"labels": ["pool=render", "disk"]},
        {"labels": ["disk=ssd "]},
        {"gpus": 2, "cpus": 4, "memory": "8GiB", "labels": ["pool"]},
    ],
)
def test_what_the_machine_has_is_met(requires: object) -> None:
    """Numbers may be text, sizes have units, names are parts or patterns in any case."""
    assert unmet(requires, machine(L4, A100), LABELS, free_gpus=2) == ()


@pytest.mark.parametrize(
    ("requires", "reason"),
    [
        ({"cpus": 8.5}, "needs 8.5 CPUs, this machine has 8"),
        ({"cpus": "16"}, "needs 16 CPUs, this machine has 8"),
        ({"memory": "32GiB"}, "needs 32 GiB memory, this machine has 16 GiB"),
        ({"memory": 16 * GIB + 1}, "needs 17179869185 bytes memory, this machine has 17179869184 bytes"),
        ({"gpus": 3}, "needs 3 GPUs, this machine has 2 (NVIDIA A100-SXM4-80GB with 80 GiB, NVIDIA L4 "),
        ({"gpuType": "H100"}, "needs 1 GPU of type H100, this machine has 2 ("),
        ({"gpuType": "A100"}, None),
        ({"gpuType": "A100*"}, "needs 1 GPU of type A100*, this machine has 2 ("),
        ({"gpus": 2, "gpuType": ["A100", "H100"]}, "needs 2 GPUs of type A100 or H100, this machine has 2 ("),
        ({"gpus": 2, "gpuMemory": "40GiB"}, "needs 2 GPUs with 40 GiB, this machine has 2 ("),
        ({"gpuType": "L4", "gpuMemory": "40GiB"}, "needs 1 GPU of type L4 with 40 GiB, this machine has 2 ("),
        ({"labels": {"zone": "a"}}, "needs the label zone=a, this agent has none of that key"),
        ({"labels": ["zone"]}, "needs the label zone, this agent has none of that key"),
        ({"labels": {"pool": "Render"}}, "needs the label pool=Render, this agent has pool=render"),
        ({"labels": ["pool="]}, "needs the label pool=, this agent has pool=render"),
    ],
)  # fmt: skip
def test_what_the_machine_lacks_is_said_in_words(requires: object, reason: str | None) -> None:
    """One reason says what is needed and what there is."""
    reasons = unmet(requires, machine(L4, A100), LABELS)
    assert len(reasons) == (reason is not None)
    assert all(text.startswith(reason or "") for text in reasons)


def test_every_lack_is_told_not_only_the_first() -> None:
    """A person mends all of them at once."""
    reasons = unmet({"cpus": 99, "memory": "1TiB", "gpus": 1, "labels": ["a", "b=c"]}, machine(), {})
    assert [reason.split()[1] for reason in reasons] == ["99", "1", "1", "the", "the"]


@pytest.mark.parametrize(
    ("facts", "has"),
    [
        (machine(limitCPUs=2), "2"),
        (machine(limitCPUs=2.5, nodeCPUs=unknown()), "2.5"),
        (machine(limitCPUs=64), "8"),  # a limit gives no more than the node has
        (machine(limitCPUs=unknown()), "8"),
    ],
)
def test_the_limit_counts_where_it_is_known_else_the_node(facts: Facts, has: str) -> None:
    """The capacity is that of the limit, or of the node where no limit is measured."""
    assert unmet({"cpus": has}, facts, {}) == ()
    assert unmet({"cpus": 9}, facts, {}) == (f"needs 9 CPUs, this machine has {has}",)


@pytest.mark.parametrize(
    ("requires", "facts", "reason"),
    [
        ({"cpus": 1}, machine(nodeCPUs=unknown("no /proc")), "no /proc"),
        ({"memory": 1}, machine(nodeRAM=unknown("no meminfo")), "no meminfo"),
        ({"gpus": 1}, machine(gpus=unknown("NVML says no")), "NVML says no"),
        ({"gpuMemory": "1GiB"}, machine(NAMELESS), "(memory of 1 not known)"),
    ],
)
def test_a_need_of_something_unknown_is_not_met(requires: object, facts: Facts, reason: str) -> None:
    """Unknown is never taken for enough, and the reason why it is unknown goes along."""
    (told,) = unmet(requires, facts, {})
    assert "known" in told
    assert reason in told


def test_a_need_of_nothing_is_met_by_an_unknown_machine() -> None:
    """Zero of something needs no fact."""
    facts = machine(nodeCPUs=unknown(), nodeRAM=unknown(), gpus=unknown())
    assert unmet({"cpus": 0, "memory": "0", "gpus": 0}, facts, {}) == ()


def test_a_machine_without_gpus_has_none() -> None:
    """That a machine has no GPU is a fact, and is said."""
    facts = machine(gpus=Fact.absent("NVML"))
    assert unmet({"gpus": 1}, facts, {}) == ("needs 1 GPU, this machine has none",)


@pytest.mark.parametrize(
    ("requires", "free", "fits"),
    [
        ({"gpus": 1}, None, True),
        ({"gpus": 1}, 1, True),
        ({"gpus": 1}, 0, False),
        ({"gpus": 2}, 1, False),
        ({"gpus": 0}, 0, True),
        ({}, 0, True),
        ({"gpuType": "A100"}, 2, True),
        ({"gpuType": "A100"}, 1, False),  # the free one may be the other
    ],
)
def test_gpus_held_by_other_runs_do_not_count(requires: object, free: int | None, fits: bool) -> None:
    """What another run holds is not free; without a count only the machine matters."""
    reasons = unmet(requires, machine(L4, A100), {}, free_gpus=free)
    assert (reasons == ()) is fits
    assert all(reason.endswith(f"{free} of 2 GPUs of this machine are free") for reason in reasons)


@pytest.mark.parametrize(
    ("requires", "names", "count"),
    [
        (None, ["L4", "A100-SXM4-80GB"], 0),
        ({"gpus": 2}, ["L4", "A100-SXM4-80GB"], 2),
        ({"gpuType": "a100"}, ["A100-SXM4-80GB"], 1),
        ({"gpuMemory": "40GiB", "gpus": 3}, ["A100-SXM4-80GB"], 3),
        ({"gpuz": 1}, [], 0),
    ],
)
def test_the_gpus_that_a_task_may_be_given(requires: Any, names: list[str], count: int) -> None:
    """Who hands out GPUs learns which ones suit, and how many the task wants."""
    facts = machine(L4, A100)
    assert [gpu.name.removeprefix("NVIDIA ") for gpu in suitable_gpus(requires, facts)] == names
    assert gpu_count(requires) == count


def test_no_gpu_suits_where_they_are_not_known() -> None:
    """A list that could not be read holds nothing to hand out."""
    assert suitable_gpus({"gpus": 1}, machine(gpus=unknown())) == ()
