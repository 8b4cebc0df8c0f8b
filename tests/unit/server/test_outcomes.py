"""What the failed runs of a job say, taken together, on both stores."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.store import outcomes as told
from server.store.commands import UpdateJob
from server.store.postgres.dialect import POSTGRES
from server.store.postgres.store import PostgresStore
from server.store.records import TaskRecord
from server.store.sql import outcomes
from server.store.sqlite.database import open_writer
from server.store.sqlite.dialect import SQLITE
from server.store.sqlite.migrate import migrate, migrations
from tests.unit.server.world import LIMIT_S, Kind, World, opened, run_async

pytestmark = pytest.mark.usefixtures("each_store")

UUID = "0170ef8c-ef7b-7000-8000-000ccd915924"
LINES = {  # what runs say -> the pattern
    "handler_error: frame 17 is missing": "handler_error: frame … is missing",
    "handler_error: frame 2,048.5 is missing": "handler_error: frame … is missing",
    "cannot read /data/in/gear.glb": "cannot read …",
    "cannot read '/tmp/x y': gone": "cannot read '… y': gone",
    f"no run {UUID} here": "no run … here",
    f"no run {UUID.upper()} here": "no run … here",
    "at 0x7fFE12ab, object deadbeefdeadbeef": "at …, object …",
    "I/O error, and/or more": "I/O error, and/or more",
    "it isn't there: a {brace} (50 %) ?": "it isn't there: a {brace} (… %) ?",
    "ends in a path /a/b": "ends in a path …",
}


async def failed(world: World, task: TaskRecord, started_at: int = 5, **fields: str) -> str:
    """Claim a task, and let its run fail; return the id of the run."""
    run = await world.claim(task, started_at=started_at)
    await world.put(run, stopped_at=started_at + 4, result_code="Failed", **fields)
    return run.id


def test_failed_runs_that_say_the_same_are_counted_together() -> None:
    """By their first lines: how many runs, of how many tasks, the newest; not those of other jobs."""

    async def scene() -> None:
        async with opened() as world:
            job, other = await world.job(), await world.job()
            twice, once, good = [await world.task(job) for _ in range(3)]
            await failed(world, twice, error="timeout: too long\nline two")
            await world.post(twice)
            world.clock.advance(1)
            newest = await failed(world, once, error="timeout: too long\nanother line two", started_at=50)
            await failed(world, twice, error="timeout: too long")
            await failed(world, await world.task(job), error="crashed: exit 1")
            await failed(world, await world.task(other), error="timeout: too long")
            await world.put(await world.claim(good), stopped_at=9, result_code="Success", error="odd")
            await world.claim(await world.task(job))
            found = await world.store.failures(world.org_id, job.id)
            assert (found.looked_at, found.patterns, found.is_all, found.untold) == (4, 2, True, 0)
            first, second = found.groups
            assert (first.pattern, first.runs, first.tasks) == ("timeout: too long", 3, 2)
            assert (first.newest_run_id, first.newest_stopped_at[:4]) == (newest, "1970")
            assert (second.pattern, second.newest_line) == ("crashed: exit 1", "crashed: exit 1")
            assert await world.store.failures("other", job.id) == told.Failures()

    run_async(scene)


def test_a_claim_of_a_requeued_task_is_no_failure_and_silence_has_a_word() -> None:
    """A placeholder is closed when its task is claimed; a run that tells no reason counts all the same."""

    async def scene() -> None:
        async with opened() as world:
            job = await world.job()
            task = await world.task(job)
            await failed(world, task, error="", result_message="oh")
            await world.post(task)
            await failed(world, task)  # its claim closes the placeholder
            found = await world.store.failures(world.org_id, job.id)
            assert {(one.pattern, one.runs) for one in found.groups} == {("oh", 1), ("no reason told", 1)}

    run_async(scene)


def test_lines_that_differ_in_numbers_ids_and_paths_are_one() -> None:
    """On both stores alike; a pattern shows what differs only where runs differ."""

    async def scene() -> None:
        async with opened() as world:
            for line, pattern in LINES.items():
                job = await world.job()
                await failed(world, await world.task(job), error=line)
                (alone,) = (await world.store.failures(world.org_id, job.id)).groups
                assert alone.pattern == line
                await failed(world, await world.task(job), error=f"{line} /other/path 1"[:200])
                await failed(world, await world.task(job), error=f"{line} /one/more 22"[:200])
                found = await world.store.failures(world.org_id, job.id)
                assert [one.pattern for one in found.groups] == [f"{pattern} … …", line], line

    run_async(scene)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab0x1f/-.,:'% …{", min_size=1, max_size=40), min_size=1, max_size=8))
def test_both_stores_fold_as_the_pattern_says(lines: list[str]) -> None:
    """Whatever runs say: as many groups as there are patterns, with the runs of each."""

    async def body() -> None:
        async with asyncio.timeout(LIMIT_S), opened() as world:
            job = await world.job()
            for line in lines:
                await failed(world, await world.task(job), error=line)
            found = await world.store.failures(world.org_id, job.id)
            said = [outcomes.pattern_of(line) for line in lines]
            groups = {outcomes.pattern_of(one.newest_line): one.runs for one in found.groups}
            assert groups == {pattern: said.count(pattern) for pattern in said}

    if not Kind.has_enough():
        asyncio.run(body())


def test_of_very_many_failures_the_newest_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that never started come last: a job that is cancelled does not hide what failed in it."""
    monkeypatch.setattr(outcomes, "MOST_FAILURES", 3)  # the bounds themselves, made small
    monkeypatch.setattr(told, "MOST_FAILURES", 3)
    monkeypatch.setattr(outcomes, "MOST_PATTERNS", 1)

    async def scene() -> None:
        async with opened() as world:
            job = await world.job()
            for number in range(2):
                await failed(world, await world.task(job), error=f"old {number}", started_at=5 + number)
            for _ in range(2):
                await failed(world, await world.task(job), error="new", started_at=50)
            for _ in range(5):
                await world.task(job)
            await world.store.apply(UpdateJob(org_id=world.org_id, id=job.id, scheduler_state="cancelled"))
            found = await world.store.failures(world.org_id, job.id)
            assert [(one.pattern, one.runs) for one in found.groups] == [("new", 2)]
            assert (found.looked_at, found.patterns, found.untold, found.is_all) == (3, 2, 1, False)

    run_async(scene)


def test_failed_runs_are_found_by_their_index(tmp_path: Path) -> None:
    """Among a million others: neither a scan of the runs nor a sort of them, before there are statistics."""

    async def scene() -> None:
        async with opened() as world:
            assert isinstance(world.store, PostgresStore)
            sql, values = outcomes.select_failures(POSTGRES, world.org_id, "j")
            plan = [row["QUERY PLAN"] for row in await world.store._read(f"EXPLAIN {sql}", values)]
            (at,) = [number for number, line in enumerate(plan) if "Index Scan using runs_failed" in line]
            assert "Limit" in plan[at - 1], plan  # no sort between

    if Kind.is_postgres:
        run_async(scene)
        return
    connection = open_writer(tmp_path / "jobs.db")
    try:
        migrate(connection, migrations(), 1)
        sql, values = outcomes.select_failures(SQLITE, "o", "j")
        plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        assert any("runs_failed" in line for line in plan), plan
        assert not any("SCAN runs" in line for line in plan), plan
        at = next(number for number, line in enumerate(plan) if "runs_failed" in line)
        assert "ORDER BY" not in plan[at + 1], plan
    finally:
        connection.close()


def test_the_pace_of_a_job_is_that_of_its_newest_successes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred at most, and stepping over some of the others; none is no pace."""
    monkeypatch.setattr(outcomes, "MOST_FOR_PACE", 2)  # the bounds themselves, made small
    monkeypatch.setattr(outcomes, "MOST_STEPPED_OVER", 4)

    async def scene() -> None:
        async with opened() as world:
            job = await world.job()
            assert await world.store.pace(world.org_id, job.id) == told.Pace(None, 0)
            for took_ms in (9_000_000, 2_000, 4_000):
                run = await world.claim(await world.task(job))
                await world.put(run, stopped_at=5 + took_ms, result_code="Success")
                world.clock.advance(1)
            await failed(world, await world.task(job))
            world.clock.advance(1)
            assert await world.store.pace(world.org_id, job.id) == told.Pace(3.0, 2)
            for _ in range(3):
                await world.claim(await world.task(job))
            assert await world.store.pace(world.org_id, job.id) == told.Pace(None, 0)
            assert await world.store.pace("other", job.id) == told.Pace(None, 0)

    run_async(scene)
