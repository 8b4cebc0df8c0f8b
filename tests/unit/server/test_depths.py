"""How much there is to do: what can be claimed, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from server.store.commands import UpdateJob
from server.store.following import Following
from server.store.sql import following
from tests.unit.server.world import World, opened, run_async

pytestmark = pytest.mark.usefixtures("each_store")


async def depths(world: World) -> dict[str, int]:
    """Return how many tasks of each type are pending."""
    return {depth.type: depth.tasks for depth in (await world.store.depths()).pending}


@pytest.mark.parametrize("state", ["paused", "cancelled"])
def test_tasks_of_a_large_job_that_is_not_active_any_more_are_no_work(
    monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """From the answer on, though most of their rows do not show it yet: nobody starts machines for them."""
    monkeypatch.setattr(following, "AT_ONCE", 2)
    monkeypatch.setattr(Following, "_do", lambda *_: asyncio.Event().wait())  # as if the server stood there

    async def body() -> None:
        async with opened() as world:
            job, other = await world.job(type="large"), await world.job(type="other")
            for _ in range(5):
                await world.task(job)
            await world.task(other)
            await world.task(job, type="other")
            assert await depths(world) == {"large": 5, "other": 2}
            await world.store.apply(UpdateJob(org_id=world.org_id, id=job.id, scheduler_state=state))
            assert await depths(world) == {"other": 1}
            await world.store.apply(UpdateJob(org_id=world.org_id, id=job.id, scheduler_state="active"))
            assert (await depths(world))["other"] == 2

    run_async(body)
