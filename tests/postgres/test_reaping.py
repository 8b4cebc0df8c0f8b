"""Silence counts only while agents could be heard: a database that failed, and its clock."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from server.reaper import Reaper
from server.retention import Keeping, Retention
from server.store.commands import ReapRuns
from server.store.postgres import commands, left_jobs
from server.store.postgres.commands import Jumps
from server.store.postgres.store import PostgresStore
from server.store.queries import TaskQuery
from server.store.refusal import StoreBusy, StoreFailed
from server.store.sql.following import FollowJob
from tests.postgres.standing import ask
from tests.postgres.stores import run_async, servers
from worker.clock import SystemClock


def test_a_jump_of_the_databases_clock_grants_everybody_a_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forwards or backwards; a clock that goes as this machine's does reaps at once."""

    class Time:
        now = 1000.0

        @classmethod
        def monotonic(cls) -> float:
            return cls.now

    monkeypatch.setattr(commands, "time", Time)  # a machine's clock cannot be turned for a test
    jumps, database_s = Jumps(), 5_000_000.0
    for passed_s, seen_s, expected in [
        (0, 0, True),
        (5, 5.4, True),
        (5, 200, False),
        (89, 89, False),
        (2, 2, True),
        (5, -300, False),
        (91, 91, True),
    ]:
        Time.now += passed_s
        database_s += seen_s
        assert jumps.may_reap(round(database_s * 1000), 90_000) is expected, (passed_s, seen_s)


class Failing:
    """A store whose database fails at first, and whose runs are all silent."""

    def __init__(self, failures: int) -> None:
        """Fail so often."""
        self.left = failures
        self.looks: list[tuple[float, bool]] = []  # when, and whether it was done

    async def apply(self, _command: ReapRuns) -> int:
        """Reap nothing, or fail."""
        self.left -= 1
        self.looks.append((time.monotonic(), self.left < 0))
        if self.left >= 0:
            raise StoreFailed("the database is away")
        return 0


def test_after_a_failure_of_the_database_nobody_is_reaped_for_a_lease() -> None:
    """Reports could not be stored meanwhile, so silence says nothing of agents."""
    store: Any = Failing(failures=1)

    async def body() -> None:
        async with Reaper(store, SystemClock(), lease_s=0.5):
            while len(store.looks) < 2:  # noqa: ASYNC110 - what it calls has no event
                await asyncio.sleep(0.01)

    run_async(body)
    (failed_at, was_done), (next_at, is_done) = store.looks[:2]
    assert (was_done, is_done) == (False, True)
    assert next_at - failed_at >= 0.5


class Busy:
    """A store that has no time until nobody asked it for so long."""

    def __init__(self, unasked_s: float) -> None:
        """Be busy."""
        self.was_left_alone = asyncio.Event()
        self._unasked_s = unasked_s
        self._asked_mono: float | None = None

    async def apply(self, _command: ReapRuns) -> int:
        """Reap nothing, or have no time."""
        before, self._asked_mono = self._asked_mono, time.monotonic()
        if before is not None and self._asked_mono - before >= self._unasked_s:
            self.was_left_alone.set()
            return 0
        raise StoreBusy("a migration holds the table of runs")


def test_after_a_long_time_without_time_nobody_is_reaped_for_a_lease() -> None:
    """As while a migration holds a table: reports were refused as the reaper was."""
    store: Any = Busy(unasked_s=2.0)

    async def body() -> None:
        async with Reaper(store, SystemClock(), lease_s=2.0):
            await store.was_left_alone.wait()

    run_async(body)


def test_each_old_job_is_deleted_once_by_two_servers_at_once(url: str) -> None:
    """One of them deletes at a time; what the other finds gone is no failure."""

    async def body() -> None:
        async with servers(url, 2) as both:
            for _ in range(12):
                job = await both[0].job()
                run = await both[0].claim(await both[0].task(job))
                await both[1].put(run, stopped_at=9, result_code="Success")
            await asyncio.sleep(0.05)
            told: list[str] = []
            deleters = [
                Retention(one.store, SystemClock(), Keeping(for_s=0.01), lambda job: told.append(job.id))
                for one in both
            ]
            while await both[0].store.job_ages(None, 1):
                await asyncio.gather(*(deleter.look() for deleter in deleters * 2))
            assert len(told) == len(set(told)) == 12
            assert ask(url, "SELECT count(*) FROM runs") == [(0,)]

    run_async(body)


def test_what_a_server_that_died_had_begun_to_close_is_closed_by_another(url: str) -> None:
    """A job of many tasks is marked as long as some are not stopped; whoever starts goes on."""

    async def body() -> None:
        async with servers(url, 1) as (one,):
            job = await one.job()
            for _ in range(5):
                await one.task(job)
            # As a server leaves it that dies after the first part, before any task was stopped.
            await one.store._read(  # type: ignore[attr-defined]
                "UPDATE jobs SET scheduler_state = 'cancelled', is_closing = TRUE, lagging_since = 7"
                " WHERE id = ? RETURNING id",
                [job.id],
            )
            async with servers(url, 1) as (two,):
                while await two.counters(job) != (0, 0, 5):  # noqa: ASYNC110 - in another task
                    await asyncio.sleep(0.02)

    run_async(body)


def test_what_a_server_that_died_had_begun_is_gone_on_with_where_nobody_reaps(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a server that ran already, and by one that was told to let silent runs be (`--lease 0`)."""
    monkeypatch.setattr(left_jobs, "LOOK_EVERY_S", 0.05)

    async def body() -> None:
        async with servers(url, 1) as (one,):
            job = await one.job()
            tasks = [await one.task(job) for _ in range(5)]
            # As a server leaves a job that was resumed, and dies before any of its tasks can be claimed.
            await one.store._read(  # type: ignore[attr-defined]
                "WITH changed AS (UPDATE jobs SET lagging_since = 7 WHERE id = ? RETURNING id)"
                " UPDATE tasks SET job_is_active = FALSE FROM changed WHERE job_id = changed.id"
                " RETURNING tasks.id",
                [job.id],
            )
            claimable = TaskQuery(org_id=one.org_id, statuses=("pending",))
            while len(await one.store.tasks(claimable)) < len(tasks):  # noqa: ASYNC110 - in another task
                await asyncio.sleep(0.02)

    run_async(body)


def test_a_job_that_somebody_follows_just_now_is_left_to_them(url: str) -> None:
    """However long ago it was changed: a second server would lock every task once more."""

    async def body() -> None:
        async with servers(url, 1) as (one,):
            job = await one.job()
            for _ in range(3):
                await one.task(job)
            store = one.store
            assert isinstance(store, PostgresStore)
            await store._read("UPDATE jobs SET lagging_since = 7 RETURNING id", [])
            part = await store.apply(FollowJob(one.org_id, job.id))
            assert part is not None
            ((followed_at,),) = ask(url, "SELECT followed_at FROM jobs")
            assert followed_at > 7
            await store._left._look()
            assert store._following.jobs_of(one.org_id) == frozenset()
            await store._read("UPDATE jobs SET followed_at = 7 RETURNING id", [])
            await store._left._look()
            assert store._following.jobs_of(one.org_id) == {job.id}

    run_async(body)
