"""GPUs through the real bindings, over a stand-in for NVML's library."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.unit.machine.recorded import record
from worker.machine.facts import Fact, Gpu
from worker.machine.gpu import gpu_facts

SOURCE = Path(__file__).parents[2] / "parts/fake_nvml.c"
LIMIT_S = 20.0  # generous: only the test of the limit is about time
H100 = "85899345920 NVIDIA H100 80GB HBM3"
TWO = f"driver 570.10.01\ngpu GPU-1 {H100}\ngpu GPU-2 {H100}\n"

Nvml = Callable[[str], Mapping[str, str]]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the stand-in once; return its folder."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is needed to build the stand-in of NVML")
    folder = tmp_path_factory.mktemp("nvml")
    state = f'-DSTATE="{folder / "state"}"'
    subprocess.run(
        [
            "gcc",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-shared",
            "-fPIC",
            state,
            "-o",
            folder / "libnvidia-ml.so.1",
            SOURCE,
        ],
        check=True,
        timeout=60,
    )
    return folder


@pytest.fixture
def nvml(library: Path) -> Nvml:
    """Return how to put the stand-in into a state; gives the environment in which it is found."""

    def put(state: str) -> Mapping[str, str]:
        (library / "state").write_text(state)
        return os.environ | {"LD_LIBRARY_PATH": str(library), "MILLHAND_TOKEN": "secret"}

    return put


def ask(root: Path, environment: Mapping[str, str]) -> dict[str, Fact]:
    """Return the facts of the GPUs with the shipped probe."""
    return gpu_facts(root, environment, limit_s=LIMIT_S)


def test_two_gpus_of_one_kind(tmp_path: Path, nvml: Nvml) -> None:
    """Names are counted; each GPU has its uuid and memory; the driver's version is there."""
    facts = ask(tmp_path, nvml(TWO))
    assert facts["gpuType"].value == "2x NVIDIA H100 80GB HBM3"
    assert facts["gpus"].value[1] == Gpu(uuid="GPU-2", name="NVIDIA H100 80GB HBM3", memory_bytes=80 << 30)
    assert facts["gpuDriver"].value == "570.10.01"


def test_gpus_of_several_kinds(tmp_path: Path, nvml: Nvml) -> None:
    """Each kind is named once, in the order of the bus."""
    facts = ask(
        tmp_path, nvml("gpu GPU-1 24000000000 NVIDIA L4\ngpu GPU-2 1 NVIDIA T4\ngpu GPU-3 1 NVIDIA L4\n")
    )
    assert facts["gpuType"].value == "2x NVIDIA L4 + NVIDIA T4"


def test_a_gpu_without_memory_of_its_own(tmp_path: Path, nvml: Nvml) -> None:
    """Where the board shares the machine's memory, its own is None and not 0."""
    facts = ask(tmp_path, nvml("shared GPU-1 NVIDIA GB10\n"))
    assert facts["gpus"].value == [Gpu(uuid="GPU-1", name="NVIDIA GB10", memory_bytes=None)]


def test_no_gpu_is_absent(tmp_path: Path, nvml: Nvml) -> None:
    """A driver that counts no device says that there is none."""
    facts = ask(tmp_path, nvml("driver 570.10.01\n"))
    assert facts["gpuType"].state == "absent"
    assert facts["gpus"].state == "absent"
    assert facts["gpuDriver"].value == "570.10.01"


def test_a_lost_gpu_is_left_out_and_named(tmp_path: Path, nvml: Nvml) -> None:
    """One GPU off the bus does not hide the other."""
    facts = ask(tmp_path, nvml("gpu GPU-1 1 NVIDIA L4\nlost GPU-2\n"))
    assert facts["gpuType"].value == "NVIDIA L4"
    assert "GPU 1" in facts["gpus"].source


def test_all_gpus_lost_is_unknown(tmp_path: Path, nvml: Nvml) -> None:
    """A machine whose GPUs fell off the bus is not a machine without GPUs."""
    assert ask(tmp_path, nvml("lost GPU-1\n"))["gpuType"].state == "unknown"


def test_a_driver_that_fails_is_unknown(tmp_path: Path, nvml: Nvml) -> None:
    """An error of the start that is not "no driver" is reported, not taken for "no GPU"."""
    fact = ask(tmp_path, nvml("init_error 999\n"))["gpuType"]
    assert fact.state == "unknown"
    assert "NVML could not be started" in fact.reason


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
    assert time.monotonic() - began < 5
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
