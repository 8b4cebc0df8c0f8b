"""All facts at once, within a limit."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.unit.machine.recorded import GIB, V2_MOUNT, record
from worker.machine.detect import as_machine, detect, within
from worker.machine.facts import Fact, Gpu

NO_GPU = [sys.executable, "-c", 'print(\'{"error": "none", "kind": "library"}\')']
HANGS = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_pod_in_a_limited_container(tmp_path: Path) -> None:
    """Facts come together under the names of the wire; the run carries values only."""
    files = {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": V2_MOUNT,
        "sys/fs/cgroup/cpu.max": "50000 100000\n",
        "sys/fs/cgroup/memory.max": f"{GIB // 4}\n",
        "sys/fs/cgroup/cgroup.type": "domain\n",
    }
    environment = {"MILLHAND_POD_UID": "uid-1", "MILLHAND_REQUEST_CPU_MILLICORES": "250"}
    facts = asyncio.run(
        detect(environment, zone="z1", root=record(tmp_path, files), gpu_probe=NO_GPU, limit_s=30)
    )
    fields = facts.as_run_fields()
    assert fields["limitCPUs"] == 0.5
    assert fields["limitRAM"] == GIB // 4
    assert fields["requestCPUs"] == 0.25
    assert fields["zone"] == "z1"
    assert fields["gpuType"] is None
    assert facts.podId.value == "uid-1"


def test_this_machine_has_no_fact_without_source_or_reason() -> None:
    """Whatever machine this is: each fact is measured or absent with a source, or unknown with a reason."""
    facts = asyncio.run(detect(os.environ, gpu_probe=NO_GPU, limit_s=30))
    for name, fact in facts.items():
        assert fact.reason if fact.state == "unknown" else fact.source, name
        assert (fact.value is None) == (fact.state != "measured"), name
    assert facts.nodeCPUs.value >= 1
    assert facts.nodeRAM.value > 0


def test_a_hanging_gpu_driver_does_not_hide_the_other_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the limit the GPUs are unknown, and everything else is there."""
    monkeypatch.setattr("worker.machine.detect.GPU_MARGIN_S", 29.0)  # the rest may take long here
    began = time.monotonic()
    facts = asyncio.run(detect(os.environ, gpu_probe=HANGS, limit_s=30.0))
    assert time.monotonic() - began < 50  # of the 60 that it hangs: a bound for the slowest machine
    assert facts.gpuType.state == "unknown"
    assert facts.nodeRAM.state == "measured"


def test_a_detector_that_breaks_or_is_late_gives_unknown_facts() -> None:
    """No strange machine keeps an agent from its work."""

    def broken() -> dict[str, Fact]:
        raise KeyError("odd")

    told = threading.Event()

    def late() -> dict[str, Fact]:
        told.wait(30)  # a thread cannot be cancelled: it ends by itself
        return {}

    async def zone(detector: Callable[[], dict[str, Fact]], limit_s: float) -> Fact:
        try:
            return (await within(limit_s, asyncio.to_thread(detector), ["zone"]))["zone"]
        finally:
            told.set()

    assert asyncio.run(zone(late, 0.05)).reason == "not found out within 0.05 s"
    assert asyncio.run(zone(broken, 30)).reason == "KeyError: 'odd'"


def test_the_machine_of_a_run_is_plain_json() -> None:
    """State, value, and source or reason of each fact, GPUs as objects."""
    facts = asyncio.run(detect({}, gpu_probe=NO_GPU, limit_s=30))
    gpu = Gpu(uuid="GPU-1", name="NVIDIA L4", memory_bytes=None)
    machine = as_machine(replace(facts, gpus=Fact.measured([gpu], "NVML")))
    assert json.loads(json.dumps(machine)) == machine
    unknown = {"memory_bytes": None, "pci_id": None, "mig_of": None}
    assert machine["gpus"]["value"] == [{"uuid": "GPU-1", "name": "NVIDIA L4", "share": 1.0} | unknown]
    assert machine["zone"]["state"] == "unknown"
    assert "MILLHAND_ZONE" in machine["zone"]["reason"]
    assert set(machine) == set(facts.__struct_fields__)
