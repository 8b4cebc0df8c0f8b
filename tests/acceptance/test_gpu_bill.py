"""The bill of a job on GPUs, as a person reads it from the API."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.gpu_scene import Scene, play
from tests.nvml import GIB, FakeNvml, gpu

MILLHAND = str(Path(sys.prefix) / "bin" / "millhand")


async def shown(on: Scene, *options: str) -> str:
    """Return what `millhand runs` says of the job's bill."""
    program = await asyncio.create_subprocess_exec(
        MILLHAND, "runs", "--job", on.job, "--bill", "--all", *options,
        env={**os.environ, **on.access}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await program.communicate()
    assert program.returncode == 0
    return out.decode()


def test_the_bill_of_a_job_has_cpu_gpu_ram_and_energy_of_each_run(tmp_path: Path) -> None:
    """One run had a GPU, the other had none; the sum is that of the runs, and nothing in it is unknown."""
    fake = FakeNvml(tmp_path / "nvml")
    fake.put(gpu(0, "duty 100000 60", "energy 0 250"))

    async def scene(on: Scene) -> None:
        task = await on.submit("compute", bytes=3 * GIB, sm=30)
        await on.computing()
        await on.looked()
        on.go.touch()
        runs = [await on.ended(task), await on.ended(await on.submit("noop", gpus=0))]
        bill: dict[str, Any] = json.loads(await shown(on, "--json"))
        assert sorted(one["id"] for one in bill["runs"]) == sorted(run["id"] for run in runs)
        for name, field in (
            ("wallSeconds", "wallClockTime"),
            ("cpuSeconds", "CPUTime"),
            ("gpuSeconds", "GPUTime"),
        ):
            assert bill["sum"][name] == pytest.approx(sum(run[field] for run in runs), abs=1e-5)
        energy_j = runs[0]["results"]["usage"]["gpuEnergyJoules"]
        assert bill["sum"]["gpuEnergyJoules"] == pytest.approx(energy_j, abs=1e-5)
        assert energy_j > 0
        assert not any(bill["sum"]["unknown"].values()), bill

    play(fake, tmp_path, scene)
