"""Many large jobs follow changes at once: they take turns, and the requests of others come between."""

from __future__ import annotations

import asyncio

import pytest

from server.store.commands import UpdateJob
from server.store.following import Following
from server.store.postgres import workers
from server.store.postgres.store import PostgresStore
from server.store.sql import following
from server.store.sql.following import FollowJob
from server.store.sqlite import writer
from server.store.sqlite.store import SqliteStore
from tests.unit.server.world import opened, run_async

pytestmark = pytest.mark.usefixtures("each_store")


def test_of_many_jobs_only_a_few_parts_wait_for_the_writer_at_once() -> None:
    """Hundreds of large jobs leave the queue to the requests; they take turns, part by part."""

    async def body() -> None:
        waiting, most, parts = 0, 0, list[str]()

        async def submit(part: FollowJob) -> FollowJob | None:
            nonlocal waiting, most
            waiting += 1
            most = max(most, waiting)
            await asyncio.sleep(0)
            waiting -= 1
            parts.append(part.job_id)
            done = parts.count(part.job_id)
            return None if done == 3 else FollowJob(part.org_id, part.job_id, after=(done, ""))

        jobs = Following(submit, 2)
        for number in range(300):
            jobs.begin(FollowJob("org", f"job-{number}"))
        await asyncio.gather(*jobs._under_way.values())
        assert most == 2
        assert len(parts) == 3 * 300
        assert len(set(parts[:300])) == 300  # each had its first part before any had its second

    run_async(body)


def test_no_request_is_refused_while_many_jobs_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue of commands holds fewer than there are jobs, and has room for who asks."""
    monkeypatch.setattr(following, "AT_ONCE", 2)
    monkeypatch.setattr(writer, "MOST_WAITING", 4)
    monkeypatch.setattr(workers, "MOST_WAITING_EACH", 2)  # for each of two connections

    async def body() -> None:
        async with opened() as world:
            jobs = [await world.job() for _ in range(12)]
            for job in jobs:
                for _ in range(5):
                    await world.task(job)
            for job in jobs:
                await world.store.apply(
                    UpdateJob(org_id=world.org_id, id=job.id, scheduler_state="cancelled")
                )
            assert isinstance(world.store, SqliteStore | PostgresStore)
            await asyncio.gather(*world.store._following._under_way.values())
            for job in jobs:
                assert await world.counters(job) == (0, 0, 5, 5, 0)

    run_async(body)
