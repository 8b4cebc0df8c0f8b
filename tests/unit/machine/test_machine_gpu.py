"""GPUs through the real bindings, over a stand-in for NVML's library."""

from __future__ import annotations

import ctypes.util
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.nvml import GIB, FakeNvml, gpu
from tests.unit.machine.recorded import record
from worker.machine.facts import Fact, Gpu
from worker.machine.gpu import gpu_facts

LIMIT_S = 20.0  # generous: only the test of the limit is about time
H100 = "NVIDIA H100 80GB HBM3"
TWO = "driver 570.10.01\ncuda 12080\n" + gpu(0, name=H100, gib=80) + gpu(1, name=H100, gib=80)

Nvml = Callable[[str], Mapping[str, str]]


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> FakeNvml:
    """Build the stand-in once."""
    return FakeNvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(fake: FakeNvml) -> Nvml:
    """Return how to put the stand-in into a state; gives the environment in which it is found."""

    def put(state: str) -> Mapping[str, str]:
        fake.put(state)
        return fake.environment_here() | {"MILLHAND_TOKEN": "secret"}

    return put


def ask(root: Path, environment: Mapping[str, str]) -> dict[str, Fact]:
    """Return the facts of the GPUs with the shipped probe."""
    return gpu_facts(root, environment, limit_s=LIMIT_S)


def test_two_gpus_of_one_kind(tmp_path: Path, nvml: Nvml) -> None:
    """Names are counted; each GPU has its uuid, memory and place; the versions are there."""
    facts = ask(tmp_path, nvml(TWO))
    assert facts["gpuType"].value == "2x NVIDIA H100 80GB HBM3"
    second = Gpu(uuid="GPU-2", name=H100, memory_bytes=80 * GIB, pci_id="00000000:02:00.0")
    assert facts["gpus"].value[1] == second
    assert (facts["gpuDriver"].value, facts["gpuCuda"].value) == ("570.10.01", "12.8")


def test_gpus_of_several_kinds(tmp_path: Path, nvml: Nvml) -> None:
    """Each kind is named once, in the order of the bus."""
    facts = ask(tmp_path, nvml(gpu(0) + gpu(1, name="NVIDIA T4") + gpu(2)))
    assert facts["gpuType"].value == "2x NVIDIA L4 + NVIDIA T4"


def test_a_gpu_without_memory_of_its_own(tmp_path: Path, nvml: Nvml) -> None:
    """Where the board shares the machine's memory, its own is None and not 0."""
    facts = ask(tmp_path, nvml("gpu 0 uuid GPU-1\ngpu 0 name NVIDIA GB10\n"))
    (found,) = facts["gpus"].value
    assert (found.uuid, found.memory_bytes) == ("GPU-1", None)


def test_the_instances_of_a_parted_gpu_are_told_instead_of_it(tmp_path: Path, nvml: Nvml) -> None:
    """CUDA is given them; each is the part of a GPU that its slices are."""
    state = gpu(0, "mig 0 MIG-1 3 40000", "mig 2 MIG-2 2 20000", name="NVIDIA A100") + gpu(1)
    one, two, whole = ask(tmp_path, nvml(state))["gpus"].value
    assert (one.uuid, one.name, one.mig_of) == ("MIG-1", "NVIDIA A100 MIG 3g.40gb", "GPU-1")
    assert (one.memory_bytes, one.share, two.uuid, two.share) == (40000 << 20, 3 / 7, "MIG-2", 2 / 7)
    assert (whole.uuid, whole.mig_of, whole.share) == ("GPU-2", None, 1.0)


def test_a_parted_gpu_without_an_instance_is_none_that_can_be_used(tmp_path: Path, nvml: Nvml) -> None:
    """It is there, and CUDA cannot be given it: unknown, and not none."""
    fact = ask(tmp_path, nvml(gpu(0, "mig")))["gpus"]
    assert fact.state == "unknown"
    assert "no instance" in fact.reason


def test_no_gpu_is_absent(tmp_path: Path, nvml: Nvml) -> None:
    """A driver that counts no device says that there is none."""
    facts = ask(tmp_path, nvml("driver 570.10.01\n"))
    assert facts["gpuType"].state == "absent"
    assert facts["gpus"].state == "absent"
    assert facts["gpuDriver"].value == "570.10.01"


def test_a_lost_gpu_is_left_out_and_named(tmp_path: Path, nvml: Nvml) -> None:
    """One GPU off the bus does not hide the other."""
    facts = ask(tmp_path, nvml(gpu(0) + "gpu 1 error 15\n"))
    assert facts["gpuType"].value == "NVIDIA L4"
    assert "GPU 1" in facts["gpus"].source


def test_all_gpus_lost_is_unknown(tmp_path: Path, nvml: Nvml) -> None:
    """A machine whose GPUs fell off the bus is not a machine without GPUs."""
    assert ask(tmp_path, nvml("gpu 0 error 15\n"))["gpuType"].state == "unknown"


def test_a_driver_that_fails_is_unknown(tmp_path: Path, nvml: Nvml) -> None:
    """An error of the start that is not "no driver" is reported, not taken for "no GPU"."""
    fact = ask(tmp_path, nvml("init_error 999\n"))["gpuType"]
    assert fact.state == "unknown"
    assert "NVML could not be started" in fact.reason


@pytest.mark.parametrize(
    ("code", "todo"),
    [(4, "/dev/nvidiactl"), (18, "restart the machine"), (9, "modprobe nvidia"), (12, "utility")],
    ids=["permission", "versions", "driver", "library"],
)
def test_each_failure_of_a_driver_that_is_there_says_what_to_do(
    tmp_path: Path, nvml: Nvml, code: int, todo: str
) -> None:
    """And is unknown."""
    facts = ask(record(tmp_path, {"dev/nvidiactl": ""}), nvml(f"init_error {code}\n" + TWO))
    assert {fact.state for fact in facts.values()} == {"unknown"}
    assert todo in facts["gpus"].reason


def test_no_driver_on_a_machine_without_a_gpu_is_absent(tmp_path: Path, nvml: Nvml) -> None:
    """The library without a driver (error 9) and without a device is a machine without GPUs."""
    assert ask(tmp_path, nvml("init_error 9\n"))["gpuType"].state == "absent"


def test_no_driver_for_a_gpu_on_the_bus_is_unknown(tmp_path: Path, nvml: Nvml) -> None:
    """A GPU that PCI shows is there, whatever the driver says."""
    device = "sys/bus/pci/devices/0000:01:00.0"
    root = record(tmp_path, {f"{device}/vendor": "0x10de\n", f"{device}/class": "0x030200\n"})
    fact = ask(root, nvml("init_error 9\n"))["gpus"]
    assert fact.state == "unknown"
    assert "0000:01:00.0" in fact.reason


def test_a_hanging_nvml_costs_no_more_than_the_limit(tmp_path: Path, nvml: Nvml) -> None:
    """The probe is killed, and the reason says what happened."""
    began = time.monotonic()
    facts = gpu_facts(tmp_path, nvml("hang\n"), limit_s=0.5)
    assert time.monotonic() - began < 60  # it hangs for ever; a bound for the slowest machine
    assert facts["gpus"].reason == "NVML did not answer within 0.5 s"


@pytest.mark.skipif(ctypes.util.find_library("nvidia-ml") is not None, reason="this machine has NVML")
def test_without_the_library_it_depends_on_the_driver(tmp_path: Path) -> None:
    """No library and no trace of a driver: no GPU. With a driver: unknown, with what to do."""
    without = ask(tmp_path / "plain", os.environ)["gpuType"]
    with_driver = ask(record(tmp_path / "gpu", {"dev/nvidiactl": ""}), os.environ)["gpuType"]
    assert without.state == "absent"
    assert with_driver.state == "unknown"
    assert "utility" in with_driver.reason


def test_a_probe_that_crashes_or_babbles_is_unknown(tmp_path: Path) -> None:
    """A crash inside the driver's library ends the probe, not the agent."""
    crash = [sys.executable, "-c", "import os; os.abort()"]
    babble = [sys.executable, "-c", "print('[]')"]
    for probe in (crash, babble, ["/nonexistent/probe"]):
        fact = gpu_facts(tmp_path, {}, limit_s=LIMIT_S, probe=probe)["gpus"]
        assert fact.state == "unknown"
        assert "probe" in fact.reason


def test_the_probe_is_given_no_secret(tmp_path: Path, nvml: Nvml) -> None:
    """Only what loader and interpreter need goes to the probe's environment."""
    show = [sys.executable, "-c", "import os; raise SystemExit(' '.join(os.environ))"]
    fact = gpu_facts(tmp_path, nvml(""), limit_s=LIMIT_S, probe=show)["gpus"]
    assert "LD_LIBRARY_PATH" in fact.reason
    assert "MILLHAND" not in fact.reason
