"""NVML itself, where there is a GPU."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from worker.clock import SystemClock
from worker.machine.gpu import gpu_facts
from worker.machine.gpu_look import Look
from worker.machine.gpu_watch import GpuWatch

pytestmark = pytest.mark.skipif(not Path("/dev/nvidiactl").exists(), reason="needs a GPU of NVIDIA's")

LIMIT_S = 60.0


def test_the_facts_and_looks_of_a_real_gpu_agree() -> None:
    """The same UUIDs; what is told is within what can be; samples carry the time of day, in order."""
    facts = gpu_facts(Path("/"), os.environ, limit_s=LIMIT_S)
    assert facts["gpus"].state == "measured", facts["gpus"].reason
    looks = asyncio.run(looks_for(3.0))
    seen = {device.uuid: device for device in looks[-1].devices}
    assert set(seen) == {gpu.uuid for gpu in facts["gpus"].value}
    for uuid, device in seen.items():
        assert device.error is None
        assert 0 <= (device.memory_used_bytes or 0) <= (device.memory_total_bytes or 0)
        found = [look.of(uuid) for look in looks]
        samples = [one for look in found if look is not None for one in look.samples or ()]
        times = [at for at, _ in samples]
        assert times == sorted(set(times))
        assert all(0 <= percent <= 100 for _, percent in samples)
        if device.samples is not None:
            assert times, "samples are supported, and there was none in 3 s"
            assert abs(times[-1] / 1e6 - time.time()) < 60


async def looks_for(seconds: float) -> list[Look]:
    """Return what a watch sees in a time."""
    watch = GpuWatch(os.environ, SystemClock(), interval_s=0.2, limit_s=LIMIT_S)
    seen: list[Look] = []
    watch.listen(seen.append)
    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(LIMIT_S):
        while len(seen) < 2:  # noqa: ASYNC110 - another process answers
            await asyncio.sleep(0.05)
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert watch.error is None
    return seen
