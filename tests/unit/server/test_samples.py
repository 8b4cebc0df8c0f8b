"""How the usage of a run grew: a sample for each report, the last one beside its run."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from tests.unit.server.world import Kind, opened, run_async

pytestmark = pytest.mark.usefixtures("each_store")

GIB = 2**30

LAST: dict[str, Any] = {"started_at": 5, "stopped_at": 9, "result_code": "Success", "progress": 1_000_000}

GPUS = '{"usage": {"gpuBusySeconds": 1.5, "gpuPeakBytes": 7}}'


def test_the_usage_of_a_run_is_a_curve() -> None:
    """In the order of time; whole numbers stay whole, and what was not told is unknown."""

    async def scene() -> None:
        async with opened() as world:
            run = await world.claim(await world.task(await world.job()))
            for cpu_s, ram in ((1.5, GIB), (2.0, 3 * GIB)):
                world.clock.advance(60)
                await world.put(run, cpu_time=cpu_s, ram_usage=ram, progress=500_000)
            first, second = await world.store.samples(world.org_id, run.id)
            assert (first.cpu_s, first.ram_bytes, first.gpu_s, first.progress) == (1.5, GIB, None, 0.5)
            assert (second.cpu_s, second.ram_bytes, first.at < second.at) == (2.0, 3 * GIB, True)
            assert isinstance(second.ram_bytes, int)
            assert await world.store.samples("other", run.id) == []

    run_async(scene)


@pytest.mark.parametrize(
    ("told", "sample"),
    [
        ({}, (3, 2 * GIB, 0, 4, 1, 1.5, 7)),
        ({"ram_usage": 10.5, "gpu_time": 0.25}, (3, 10.5, 0.25, 4, 1, 1.5, 7)),
        ({"ram_usage": UNSET}, (3, None, 0, 4, 1, 1.5, 7)),
        ({"progress": UNSET}, (3, 2 * GIB, 0, 4, None, 1.5, 7)),
        ({"results": UNSET}, (3, 2 * GIB, 0, 4, 1, None, None)),
    ],
    ids=["all of it", "fractions", "no memory", "no progress", "no results"],
)
def test_what_the_last_report_tells_of_usage_is_the_last_sample(
    told: dict[str, Any], sample: tuple[float | None, ...]
) -> None:
    """Just what it said, at its time, whether the store keeps that as a sample or with the run."""

    async def scene() -> None:
        async with opened() as world:
            run = await world.claim(await world.task(await world.job()))
            world.clock.advance(60)
            await world.put(run, cpu_time=1.5, ram_usage=GIB, progress=500_000, results=GPUS)
            world.clock.advance(60)
            usage: dict[str, Any] = {
                "cpu_time": 3,
                "ram_usage": 2 * GIB,
                "gpu_time": 0,
                "wall_clock_time": 4,
                "results": GPUS,
            }
            ended = await world.put(run, **{**LAST, **usage, **told})
            found = await world.store.samples(world.org_id, run.id)
            assert len(found) == 2
            last = found[-1]
            shown = (last.cpu_s, last.ram_bytes, last.gpu_s, last.wall_s, last.progress)
            assert (*shown, last.gpu_busy_s, last.gpu_bytes) == sample
            assert last.at == ended.updated_at > found[0].at
            assert Kind.is_postgres or isinstance(last.cpu_s, float)  # as it is among samples
            assert last.ram_bytes is None or isinstance(last.ram_bytes, type(sample[1]))
            await world.put(run, **LAST)
            assert await world.store.samples(world.org_id, run.id) == found

    run_async(scene)


def test_of_two_reports_in_a_moment_the_last_is_the_sample() -> None:
    """As it is among samples."""

    async def scene() -> None:
        async with opened() as world:
            run = await world.claim(await world.task(await world.job()))
            usage: dict[str, Any] = {"cpu_time": 2, "ram_usage": 3, "gpu_time": 0, "wall_clock_time": 4}
            await world.put(run, cpu_time=1)
            await world.put(run, **LAST, **usage, results="{}")
            found = await world.store.samples(world.org_id, run.id)
            assert [sample.cpu_s for sample in found][-1] == 2
            assert len({sample.at for sample in found}) == len(found)

    run_async(scene)
