"""Several agents on one machine: each uses the GPUs that it was given, and no other."""

from __future__ import annotations

import pytest

from worker.machine.chosen_gpus import with_chosen
from worker.machine.facts import Fact, Gpu

PLAIN = [
    Gpu(uuid="GPU-aaaa-1", name="L4"),
    Gpu(uuid="GPU-aabb-2", name="T4"),
    Gpu(uuid="GPU-cccc-3", name="L4"),
]
PARTED = [
    Gpu(uuid="GPU-aaaa-1", name="H100"),
    Gpu(uuid="MIG-1", name="H100 1g", mig_of="GPU-bbbb-2"),
    Gpu(uuid="MIG-2", name="H100 1g", mig_of="GPU-bbbb-2"),
    Gpu(uuid="GPU-cccc-3", name="H100"),
]


def facts(gpus: list[Gpu]) -> dict[str, Fact]:
    """Return the facts of GPUs as NVML's answer gives them."""
    of_driver = dict.fromkeys(("gpuDriver", "gpuCuda"), Fact.measured("1", "NVML"))
    return {"gpuType": Fact.measured("all", "NVML"), "gpus": Fact.measured(gpus, "NVML"), **of_driver}


def chosen(gpus: list[Gpu], *wanted: str) -> list[str]:
    """Return the UUIDs of those that an agent may use."""
    return [gpu.uuid for gpu in with_chosen(facts(gpus), wanted)["gpus"].value]


@pytest.mark.parametrize(
    ("wanted", "uuids"),
    [
        ((), ["GPU-aaaa-1", "GPU-aabb-2", "GPU-cccc-3"]),
        (("1",), ["GPU-aabb-2"]),
        (("2", "0"), ["GPU-cccc-3", "GPU-aaaa-1"]),
        (("GPU-c",), ["GPU-cccc-3"]),
        (("GPU-aabb-2", "1"), ["GPU-aabb-2"]),
    ],
)
def test_an_index_or_the_beginning_of_a_uuid_chooses(wanted: tuple[str, ...], uuids: list[str]) -> None:
    """Twice the same is once."""
    assert chosen(PLAIN, *wanted) == uuids


@pytest.mark.parametrize("wanted", ["1", "GPU-bbbb-2"])
def test_a_parted_gpu_stands_for_its_instances(wanted: str) -> None:
    """An index counts GPUs, not instances; one instance can be chosen by its own UUID."""
    assert chosen(PARTED, wanted) == ["MIG-1", "MIG-2"]
    assert chosen(PARTED, "2") == ["GPU-cccc-3"]
    assert chosen(PARTED, "MIG-2") == ["MIG-2"]


def test_the_type_is_that_of_the_chosen_ones() -> None:
    """And the source says why there are fewer than the machine has."""
    told = with_chosen(facts(PLAIN), ("0", "2"))
    assert told["gpuType"].value == "2x L4"
    assert told["gpuType"].source == "NVML; chosen by --gpus"
    assert told["gpuDriver"].value == "1"


@pytest.mark.parametrize("wanted", ["3", "GPU-dddd", "GPU-aa", "GPU-", "nonsense", "-1"])
def test_one_that_is_not_there_or_not_clear_is_unknown(wanted: str) -> None:
    """It fell off its bus, or was mistyped; an agent must not go on with the rest as if that were all."""
    told = with_chosen(facts(PLAIN), ("0", wanted))
    assert told["gpus"].state == "unknown"
    assert told["gpus"].reason is not None
    assert f"names {wanted}, and NVML lists GPU-aaaa-1, GPU-aabb-2" in told["gpus"].reason


def test_a_machine_without_gpus_has_none_of_those_named() -> None:
    """What is unknown already keeps its own reason."""
    none = facts([]) | {"gpus": Fact.absent("NVML: no device")}
    assert with_chosen(none, ("0",))["gpus"].state == "unknown"
    hung = facts([]) | {"gpus": Fact.unknown("NVML did not answer")}
    assert with_chosen(hung, ("0",))["gpus"].reason == "NVML did not answer"
