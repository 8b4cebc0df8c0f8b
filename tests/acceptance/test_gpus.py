"""GPUs that somebody uses, that hang, are lost, or make tasks fail, and what runs are told of theirs."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from server.testing import running_server
from tests.acceptance.agents import start_agent, wait_until_started
from tests.acceptance.gpu_scene import HANDLERS, LIMIT_S, Scene, agent_settings, helpers, play, there
from tests.nvml import GIB, FakeNvml, gpu
from worker.agent.gpus.quarantine_file import QuarantineFile
from worker.usage.gpu_meter import LAST_LOOK_S


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> FakeNvml:
    """Build the stand-in once."""
    return FakeNvml(tmp_path_factory.mktemp("nvml"))


def test_a_gpu_that_somebody_else_uses_is_given_to_no_run(built: FakeNvml, tmp_path: Path) -> None:
    """The reason is told; other tasks go on; when it is free the task runs, and sees that GPU alone."""
    stranger = f"gpu 0 proc {os.getpid()} 0 50"
    built.put(gpu(0) + stranger + "\n")

    async def scene(on: Scene) -> None:
        waiting = await on.submit("compute")
        assert f"process {os.getpid()}, which is not of this agent" in await on.left(waiting)
        assert (await on.ended(await on.submit("noop", gpus=0)))["resultCode"] == "Success"
        assert await on.api.list_runs(task_id=waiting) == []
        on.go.touch()
        on.fake.take_back(stranger)
        run = await on.ended(waiting)
        results = run["results"]
        assert (results["gpus"], results["CUDA_VISIBLE_DEVICES"]) == (["GPU-1"], "GPU-1")
        assert (results["CUDA_DEVICE_ORDER"], results["NVIDIA_VISIBLE_DEVICES"]) == ("PCI_BUS_ID", "GPU-1")
        assert run["GPUTime"] == run["wallClockTime"] > 0
        assert [event["gpu"] for event in on.events("gpu.unfit")] == ["GPU-1"]

    play(built, tmp_path, scene)


def test_a_handler_that_wants_a_gpu_is_given_one_unless_its_task_says_otherwise(
    built: FakeNvml, tmp_path: Path
) -> None:
    """The task says nothing, then that it wants two."""
    built.put(gpu(0) + gpu(1))

    async def scene(on: Scene) -> None:
        for said, given in ((0, 1), (2, 2)):
            run = await on.ended(await on.submit("asks", gpus=said))
            assert len(run["results"]["gpus"]) == given

    play(built, tmp_path, scene)


def test_a_second_gpu_is_taken_where_the_first_is_full(built: FakeNvml, tmp_path: Path) -> None:
    """Memory that nobody of ours has counts as well as processes."""
    built.put(gpu(0).replace(f"memory {24 * GIB} 0", f"memory {24 * GIB} {20 * GIB}") + gpu(1))

    async def scene(on: Scene) -> None:
        on.go.touch()
        assert (await on.ended(await on.submit("compute")))["results"]["gpus"] == ["GPU-2"]
        two = await on.submit("compute", gpus=2)
        assert "GPU-1: 20.0 of its 24.0 GiB are used" in await on.left(two)

    play(built, tmp_path, scene)


def test_an_agent_uses_the_gpus_that_it_was_given_alone(built: FakeNvml, tmp_path: Path) -> None:
    """One agent a GPU: the second of the machine, so that two at once are more than it has."""
    built.put(gpu(0) + gpu(1))

    async def scene(on: Scene) -> None:
        on.go.touch()
        run = await on.ended(await on.submit("compute"))
        assert (run["results"]["gpus"], run["gpuType"]) == (["GPU-2"], "NVIDIA L4")
        assert "chosen by --gpus" in run["machine"]["gpus"]["source"]
        assert "2 GPUs" in await on.left(await on.submit("compute", gpus=2))

    play(built, tmp_path, scene, settings={"MILLHAND_GPUS": "1"})


def test_a_driver_that_hangs_from_the_start_stops_nothing_but_tasks_for_gpus(
    built: FakeNvml, tmp_path: Path
) -> None:
    """The GPUs are unknown, within the limit of all facts, and not none; they are found when it answers."""
    built.put(gpu(0) + "hang\n")

    async def scene(on: Scene) -> None:
        waiting = await on.submit("compute")
        run = await on.ended(await on.submit("noop", gpus=0))
        assert run["resultCode"] == "Success"
        assert (run["machine"]["gpus"]["state"], run["gpuType"]) == ("unknown", None)
        assert "did not answer within" in run["machine"]["gpus"]["reason"]
        assert "which GPUs this machine has is unknown" in await on.left(waiting)
        on.go.touch()
        on.fake.take_back("hang")
        assert (await on.said("gpu.found"))[0]["gpus"] == ["GPU-1"]
        run = await on.ended(waiting)
        assert (run["gpuType"], run["machine"]["gpus"]["state"]) == ("NVIDIA L4", "measured")

    play(built, tmp_path, scene)


def test_a_driver_that_hangs_later_is_waited_out(built: FakeNvml, tmp_path: Path) -> None:
    """Tasks without a GPU go on; the helper is replaced, and then tasks for GPUs go on, too."""
    built.put(gpu(0, "duty 100000 60"))

    async def scene(on: Scene) -> None:
        on.go.touch()
        assert (await on.ended(await on.submit("compute")))["resultCode"] == "Success"
        (before,) = helpers(on.fake)
        on.fake.add("gpu 0 hang")
        assert "did not answer" in (await on.said("gpu.watch_failed"))[-1]["error"]
        waiting = await on.submit("compute")
        assert "its state is not known: NVML did not answer" in await on.left(waiting)
        assert (await on.ended(await on.submit("noop", gpus=0)))["resultCode"] == "Success"
        on.fake.take_back("gpu 0 hang")
        assert (await on.ended(waiting))["resultCode"] == "Success"
        assert helpers(on.fake) != [before]

    play(built, tmp_path, scene)


def test_a_gpu_that_is_lost_in_a_run_is_told_and_given_to_no_further_one(
    built: FakeNvml, tmp_path: Path
) -> None:
    """The run goes on as its handler sees fit; its bill says what was not seen."""
    built.put(gpu(0, "duty 100000 60"))

    async def scene(on: Scene) -> None:
        lost_in = await on.submit("compute")
        await on.computing()
        on.fake.add("gpu 0 error 15")
        assert (await on.said("gpu.unfit"))[0]["reason"] == "GPU is lost"
        next_one = await on.submit("compute", go=on.go)
        assert "GPU-1: GPU is lost" in await on.left(next_one)
        on.go.touch()
        run = await on.ended(lost_in)
        assert run["resultCode"] == "Success"
        assert "GPU-1: GPU is lost" in run["results"]["usage"]["reasons"]["gpu_busy_s"]
        assert await on.api.list_runs(task_id=next_one) == []
        on.fake.take_back("gpu 0 error 15")
        assert (await on.ended(next_one))["resultCode"] == "Success"

    play(built, tmp_path, scene)


@pytest.mark.parametrize(("duty", "percent", "doubt_s"), [("60", 0.6, 0.0), ("100 0", 0.5, 0.1)])
def test_the_busy_seconds_of_a_run_are_those_of_the_device(
    built: FakeNvml, tmp_path: Path, duty: str, percent: float, doubt_s: float
) -> None:
    """To the last digit of what its samples cover, however slow the machine; memory and energy beside."""
    built.put(gpu(0, f"duty 100000 {duty}", "energy 0 250"))

    async def scene(on: Scene) -> None:
        task = await on.submit("compute", bytes=3 * GIB, sm=30)
        await on.computing()
        await on.looked()
        on.go.touch()
        run = await on.ended(task)
        usage = run["results"]["usage"]
        covered_s = usage["coverage"]["gpu_busy_s"] * usage["wallSeconds"]
        rounded_s = 0.5e-4 * usage["wallSeconds"]  # coverage has four digits
        assert usage["gpuBusySeconds"] == pytest.approx(
            percent * covered_s, abs=doubt_s / 2 + rounded_s + 1e-5
        )
        assert covered_s > 0
        assert usage["methods"]["gpu_busy_s"] == "device_samples_exclusive"
        assert (usage["gpuPeakBytes"], usage["methods"]["gpu_peak_bytes"]) == (
            3 * GIB, "process_memory_sampled",
        )  # fmt: skip
        assert 0 < usage["gpuEnergyJoules"] <= 250 * (usage["wallSeconds"] + LAST_LOOK_S + 0.1)
        assert usage["gpuAllocatedSeconds"] == run["GPUTime"] == usage["wallSeconds"]

    play(built, tmp_path, scene)


def test_two_runs_share_a_gpu_where_that_is_wanted(built: FakeNvml, tmp_path: Path) -> None:
    """Each has its part of the time, of the busy time by its own process, and its own memory."""
    built.put(gpu(0, "duty 100000 90"))

    async def scene(on: Scene) -> None:
        tasks = [
            await on.submit("compute", sm=20, bytes=GIB),
            await on.submit("compute", sm=40, bytes=2 * GIB),
        ]
        await on.computing(2)
        assert "fewer are free now" in await on.left(await on.submit("compute"))
        await on.looked()
        on.go.touch()
        one, two = [(await on.ended(task))["results"]["usage"] for task in tasks]
        for usage, gib in ((one, 1), (two, 2)):
            assert usage["gpuAllocatedSeconds"] == pytest.approx(usage["wallSeconds"] / 2, abs=1e-5)
            assert usage["methods"]["gpu_busy_s"] == "process_sm_samples"
            assert usage["gpuPeakBytes"] == gib * GIB
            assert usage["reasons"]["gpu_energy_j"] == "several runs may share the GPU"
        assert 0 < one["gpuBusySeconds"] <= 0.2 * one["wallSeconds"] + 1e-5
        assert one["gpuBusySeconds"] < two["gpuBusySeconds"] <= 0.4 * two["wallSeconds"] + 1e-5

    play(built, tmp_path, scene, slots=3, settings={"MILLHAND_GPU_RUNS": "2"})


def test_an_instance_of_mig_is_a_gpu_whose_busy_time_is_not_known(built: FakeNvml, tmp_path: Path) -> None:
    """It is given by its UUID, and counts for its part of the whole."""
    built.put(gpu(0, "mig 0 MIG-1 3 40000", name="NVIDIA A100"))

    async def scene(on: Scene) -> None:
        on.go.touch()
        run = await on.ended(await on.submit("compute"))
        usage = run["results"]["usage"]
        assert run["results"]["CUDA_VISIBLE_DEVICES"] == "MIG-1"
        assert run["GPUTime"] == pytest.approx(run["wallClockTime"] * 3 / 7, abs=1e-5)
        assert usage["gpuBusySeconds"] is usage["gpuEnergyJoules"] is None
        assert usage["reasons"]["gpu_busy_s"] == "NVML does not measure instances of MIG"

    play(built, tmp_path, scene)


def test_a_gpu_on_which_tasks_fail_at_once_is_tried_again_by_one(built: FakeNvml, tmp_path: Path) -> None:
    """Three failures shut it; a trial that fails shuts it for twice as long; one that succeeds opens it."""
    built.put(gpu(0))

    async def scene(on: Scene) -> None:
        failing = [await on.submit("broken") for _ in range(4)]
        await on.said("gpu.quarantined")
        cpu = await on.submit("noop", gpus=0)
        assert (await on.ended(cpu))["resultCode"] == "Success"
        shut = await on.said("gpu.quarantined", 2)
        assert list(QuarantineFile(on.folder / "agent/state").load()) == ["GPU-1"]
        assert [event["for_s"] for event in shut] == [1, 2]
        on.go.touch()
        good = await on.submit("compute")
        assert (await on.ended(good))["resultCode"] == "Success"
        assert [(await on.ended(task))["resultCode"] for task in failing] == ["Failed"] * 4
        await on.said("gpu.recovered")
        assert QuarantineFile(on.folder / "agent/state").load() == {}
        tried = on.events("gpu.tried")
        assert (tried[0]["task_id"] in failing, tried[-1]["task_id"]) == (True, good)
        for before in shut:
            later = [at(trial) - at(before) for trial in tried if at(trial) > at(before)]
            assert min(later).total_seconds() >= before["for_s"] - 0.1

    play(built, tmp_path, scene, settings={"MILLHAND_GPU_QUARANTINE": "1", "MILLHAND_MAX_ATTEMPTS": "1"})


def at(event: dict[str, Any]) -> datetime:
    """Return when something was logged."""
    return datetime.fromisoformat(event["at"])


def test_a_killed_agent_leaves_no_helper(built: FakeNvml, tmp_path: Path) -> None:
    """Also where its NVML hangs just then."""
    built.put(gpu(0))
    with running_server() as server:
        settings = agent_settings(built, tmp_path)
        (tmp_path / "own.py").write_text(HANDLERS)
        folder = tmp_path / "agent"
        agent = start_agent(folder, server.url, server.token, slots=1, settings=settings)
        try:
            wait_until_started(agent, folder)
            (helper,) = asyncio.run(there(built))
            built.add("gpu 0 hang")
        finally:
            os.killpg(agent.pid, signal.SIGKILL)
            agent.wait(LIMIT_S)
    if psutil.pid_exists(helper):
        psutil.Process(helper).wait(LIMIT_S)
