"""The bill of a job on GPUs, as a person reads it from the API."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from server.dashboard import words
from tests.acceptance.gpu_scene import Scene, play
from tests.integration.dashboard import Browser
from tests.nvml import GIB, FakeNvml, gpu
from worker.cli import human

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


def test_the_page_of_a_run_shows_its_gpu_while_it_computes(tmp_path: Path) -> None:
    """How busy it is and how full, from reports of a real agent; the last figure is that of the bill."""
    fake = FakeNvml(tmp_path / "nvml")
    fake.put(gpu(0, "duty 100000 60"))

    def plots(on: Scene, run_id: str) -> list[str]:
        browser = Browser(on.access["MILLHAND_API_URL"])
        with browser.client:
            browser.sign_in(on.access["MILLHAND_TOKEN"])
            page = browser.look(f"/ui/runs/{run_id}")
        return [attributes["aria-label"] or "" for tag, attributes in page.elements if tag == "svg"]

    async def scene(on: Scene) -> None:
        task = await on.submit("compute", bytes=3 * GIB, sm=30)
        await on.computing()
        (run,) = await on.api.list_runs(task_id=task)
        while not any(plot.startswith("GPU memory") for plot in await asyncio.to_thread(plots, on, run.id)):
            await on.looked(1)
        on.go.touch()
        usage = (await on.ended(task))["results"]["usage"]
        told = {plot.partition(" over ")[0]: plot for plot in await asyncio.to_thread(plots, on, run.id)}
        assert f"latest {human.size(usage['gpuPeakBytes'])}," in told["GPU memory, peak so far"]
        mean = usage["gpuBusySeconds"] / usage["wallSeconds"]
        assert told["GPUs busy"].endswith(f"{words.number(round(mean, 3))} on average")

    play(fake, tmp_path, scene, settings={"MILLHAND_HEARTBEAT": "0.5", "MILLHAND_REPORT_INTERVAL": "0.2"})
