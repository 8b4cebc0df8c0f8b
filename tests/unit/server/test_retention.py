"""Finished jobs are deleted whole, in parts, and nothing else is ever touched."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server import retention
from server.activity import Activity
from server.retention import Choice, Keeping, Retention
from server.store.commands import CreateRun, CreateTask, ReapRuns, RunFields, UpdateJob, UpdateTask
from server.store.queries import JobQuery, RunQuery, TaskQuery
from server.store.records import Deletion, JobAge, JobRecord
from server.store.refusal import Refused
from tests.unit.server.test_counters import take
from tests.unit.server.world import LIMIT_S, Kind, World, durable_database, opened, run_async

pytestmark = pytest.mark.usefixtures("each_store")

DAY_S = 86_400.0
TABLES = ("jobs", "job_counters", "tasks", "runs", "results", "usage_samples")


def deleting(world: World, keeping: Keeping, gone: list[str] | None = None) -> Retention:
    """Return what deletes, by the clock of the test."""
    told = gone if gone is not None else []
    return Retention(world.store, world.clock, keeping, lambda job: told.append(job.id))


async def finished(world: World, tasks: int = 1, **fields: Any) -> JobRecord:
    """Make a job whose tasks were all done, each with results and samples of usage."""
    job = await world.job(**fields)
    for _ in range(tasks):
        run = await world.claim(await world.task(job))
        for cpu_s in (1.0, 2.0):
            world.clock.advance(0.01)
            await world.put(run, cpu_time=cpu_s)
        await world.put(run, stopped_at=9, result_code="Success", results='{"a": 1}')
    return job


def results() -> str:
    """Return the table in which the store keeps the results of new runs."""
    return "results" if Kind.is_postgres else "run_results"


def tables() -> set[str]:
    """Return the tables that hold what belongs to jobs."""
    return {*TABLES, results()}


async def counts(world: World) -> dict[str, int]:
    """Return how many rows each table has."""
    found = {}
    for name in tables():
        (row,) = await world.ask(f"SELECT count(*) AS n FROM {name}")  # noqa: S608 - a name of ours
        found[name] = row["n"]
    return found


async def ids(world: World) -> set[str]:
    """Return the jobs that a reader sees."""
    return {job.id for job in await world.store.jobs(JobQuery(org_id=world.org_id))}


def test_a_job_goes_after_its_time_with_all_that_belongs_to_it() -> None:
    """Not a moment sooner; what is younger, and what is not finished, is there to the last row."""
    gone: list[str] = []

    async def body() -> None:
        async with opened() as world:
            old = await finished(world, tasks=3)
            world.clock.advance(DAY_S)
            await finished(world)
            pending = await world.job()
            await world.task(pending)
            running = await world.job()
            await world.claim(await world.task(running))
            empty = await world.job()
            before = await counts(world)
            keeping = deleting(world, Keeping(for_s=DAY_S * 2), gone)
            await keeping.look()
            assert await counts(world) == before
            world.clock.advance(DAY_S + 1)
            await keeping.look()
            assert gone == [old.id]
            after = await counts(world)
            assert (before["runs"] - after["runs"], before["usage_samples"] - after["usage_samples"]) == (
                3,
                6,
            )
            assert (before[results()] - after[results()], before["tasks"] - after["tasks"]) == (3, 3)
            world.clock.advance(DAY_S * 9)
            await keeping.look()
            assert await ids(world) == {pending.id, running.id, empty.id}
            left = await counts(world)
            assert [left[name] for name in ("jobs", "tasks", "runs", results(), "usage_samples")] == [
                3,
                2,
                1,
                0,
                0,
            ]

    run_async(body)


def test_the_newest_of_each_organisation_are_kept() -> None:
    """By their last change; one that ended within the hour is no one too many."""

    async def body() -> None:
        async with opened() as world:
            ours = [await finished(world) for _ in range(4)]
            world.clock.advance(2)
            await world.store.apply(UpdateJob(org_id=world.org_id, id=ours[0].id, title="again"))
            keeping = deleting(world, Keeping(jobs=2))
            await keeping.look()
            assert await ids(world) == {job.id for job in ours}
            world.clock.advance(retention.GRACE_S)
            late = await finished(world)
            await keeping.look()
            assert await ids(world) == {ours[0].id, late.id}

    run_async(body)


def test_a_job_with_a_task_that_was_changed_lately_is_kept() -> None:
    """Whoever puts a title or parameters to a task is not done with its job."""

    async def body() -> None:
        async with opened() as world:
            job = await finished(world, tasks=2)
            before = await world.counters(job)
            world.clock.advance(DAY_S)
            task = (await world.store.tasks(TaskQuery(org_id=world.org_id)))[0].task
            await world.store.apply(UpdateTask(org_id=world.org_id, id=task.id, title="seen"))
            changed = await world.store.job(world.org_id, job.id)
            assert changed is not None
            assert changed.updated_at == world.clock.now().isoformat(timespec="milliseconds").replace(
                "+00:00", "Z"
            )
            assert await world.counters(job) == before
            await deleting(world, Keeping(for_s=DAY_S / 2)).look()
            assert await ids(world) == {job.id}
            world.clock.advance(DAY_S)
            await deleting(world, Keeping(for_s=DAY_S / 2)).look()
            assert await ids(world) == set()

    run_async(body)


def test_a_closed_job_without_tasks_is_finished_and_an_open_one_is_not() -> None:
    """Whoever made the open one may be about to fill it."""

    async def body() -> None:
        async with opened() as world:
            await world.job(scheduler_state="cancelled")
            other = await world.job()
            world.clock.advance(DAY_S)
            await deleting(world, Keeping(for_s=60)).look()
            assert await ids(world) == {other.id}

    run_async(body)


def test_a_job_whose_late_result_may_come_is_kept() -> None:
    """Its agent fell silent, and may come back with what it finished; after a month nobody waits."""

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            task = await world.task(job)
            command = CreateRun(
                org_id=world.org_id,
                created_by="me",
                task_id=task.id,
                lease_ms=1_000,
                fields=RunFields(started_at=5, pod_id="pod"),
            )
            run = (await world.store.apply(command)).run
            await world.store.apply(UpdateJob(org_id=world.org_id, id=job.id, scheduler_state="cancelled"))
            world.clock.advance(2)
            await world.store.apply(ReapRuns(lease_ms=1_000, most=9))
            assert await world.status(task) == "stopped"
            keeping = deleting(world, Keeping(for_s=60))
            world.clock.advance(DAY_S * 29)
            await keeping.look()
            late = await world.put(
                run, "pod", started_at=5, stopped_at=9, result_code="Success", results='{"late": 1}'
            )
            assert late.result_code == "Success"
            await keeping.look()
            assert await ids(world) == {job.id}
            world.clock.advance(61)
            await keeping.look()
            assert await ids(world) == set()

    run_async(body)


def test_a_job_that_got_a_task_since_it_was_chosen_is_kept() -> None:
    """What was seen is seen again with the job's lock held."""

    async def body() -> None:
        async with opened() as world:
            job = await finished(world)
            world.clock.advance(DAY_S)
            (age,) = await world.store.job_ages(None, 9)
            task = await world.task(job)
            keeping = deleting(world, Keeping(for_s=60))
            assert await keeping.delete(age, 60.0) is Deletion.KEPT
            assert await world.status(task) == "pending"

    run_async(body)


def test_a_look_sees_every_job_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the size of its reads."""
    monkeypatch.setattr(retention, "JOBS_AT_ONCE", 2)
    gone: list[str] = []

    async def body() -> None:
        async with opened() as world:
            jobs = [await finished(world) for _ in range(5)]
            world.clock.advance(DAY_S)
            await deleting(world, Keeping(for_s=60), gone).look()
            assert sorted(gone) == sorted(job.id for job in jobs)
            assert set((await counts(world)).values()) == {0}

    run_async(body)


def test_a_large_job_goes_in_parts_and_nobody_sees_it_from_the_first_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that dies in between leaves no half of a job: it is gone, and the next one goes on."""
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 4)
    gone: list[str] = []

    async def die_in_between(url: str) -> None:
        async with opened(url) as world:
            job = await finished(world, tasks=5, id="job")
            tasks = await world.store.tasks(TaskQuery(org_id=world.org_id))
            runs = await world.store.runs(RunQuery(org_id=world.org_id))
            world.clock.advance(DAY_S)
            keeping = deleting(world, Keeping(for_s=60))
            (age,) = await world.store.job_ages(None, 9)
            monkeypatch.setattr(retention, "PAUSE_S", 3600.0)
            deletion = asyncio.create_task(keeping.delete(age, 60.0))
            while (await world.store.job(world.org_id, job.id)) is not None:  # noqa: ASYNC110 - in another task
                await asyncio.sleep(0.001)
            deletion.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await deletion
            assert 0 < (await counts(world))["runs"] < 5
            assert await ids(world) == set()
            assert await world.store.task(world.org_id, tasks[-1].task.id) is None
            assert await world.store.run(world.org_id, runs[-1].run.id) is None
            for late in (
                CreateTask(org_id=world.org_id, created_by="me", job_id=job.id),
                CreateRun(
                    org_id=world.org_id, created_by="me", task_id=tasks[-1].task.id, fields=RunFields()
                ),
                UpdateJob(org_id=world.org_id, id=job.id, scheduler_state="active"),
                UpdateTask(org_id=world.org_id, id=tasks[-1].task.id, title="late"),
            ):
                with pytest.raises(Refused):
                    await world.store.apply(late)
            with pytest.raises(Refused, match="Run not found"):
                await world.put(runs[-1].run, stopped_at=9, result_code="Success")

    async def go_on(url: str) -> None:
        monkeypatch.setattr(retention, "PAUSE_S", 0.0)
        async with opened(url) as world:
            await deleting(world, Keeping(for_s=DAY_S * 365), gone).look()
            assert gone == ["job"]
            assert set((await counts(world)).values()) == {0}

    with durable_database(tmp_path) as url:
        run_async(lambda: die_in_between(url))
        run_async(lambda: go_on(url))


step = st.one_of(
    st.tuples(st.just("task")),
    st.tuples(st.just("claim"), st.integers(0, 5)),
    st.tuples(st.just("placeholder"), st.integers(0, 5)),
    st.tuples(st.just("progress"), st.integers(0, 9), st.integers(0, 1_000_000)),
    st.tuples(st.just("stop"), st.integers(0, 9), st.sampled_from(["Success", "Failed"])),
    st.tuples(st.just("state"), st.sampled_from(("active", "paused", "cancelled"))),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(step, max_size=14), st.lists(step, max_size=6))
def test_no_job_with_something_to_do_is_ever_touched(
    first: list[tuple[Any, ...]], second: list[tuple[Any, ...]]
) -> None:
    """Two jobs, any history: a look deletes exactly what has nothing pending or running, to the last row."""

    async def body() -> None:
        async with asyncio.timeout(LIMIT_S), opened() as world:
            for actions in (first, second):
                job = await world.job()
                await world.task(job)
                for action in actions:
                    with contextlib.suppress(Refused):
                        await take(world, job, action)
            world.clock.advance(DAY_S)
            before = await world.store.jobs(JobQuery(org_id=world.org_id))
            kept = {job.id for job in before if job.task_status_pending or job.task_status_running}
            rows = await rows_of(world, kept)
            await deleting(world, Keeping(for_s=60)).look()
            assert await ids(world) == kept
            assert await rows_of(world, kept) == rows
            assert sum((await counts(world)).values()) == sum(map(len, rows.values()))

    if not Kind.has_enough():
        asyncio.run(body())


async def rows_of(world: World, jobs: set[str]) -> dict[str, list[dict[str, Any]]]:
    """Return every row that belongs to some jobs."""
    of_run = "run_id IN (SELECT id FROM runs WHERE job_id IN ({}))"
    by_number = "id IN (SELECT results_id FROM runs WHERE job_id IN ({}))"
    keys = {"jobs": "id IN ({})", "results": of_run, "usage_samples": of_run, "run_results": by_number}
    names = ", ".join(f"'{job}'" for job in sorted(jobs)) or "''"
    found = {}
    for table in tables():
        where = keys.get(table, "job_id IN ({})").format(names)
        found[table] = [
            dict(row)
            for row in await world.ask(f"SELECT * FROM {table} WHERE {where} ORDER BY 1, 2")  # noqa: S608 - ids of ours
        ]
    return found


def age(changed_at: int, *, is_finished: bool = True, is_going: bool = False) -> JobAge:
    """Return what decides over a job."""
    return JobAge(
        org_id="o", id=f"job-{changed_at}", created_at=1, changed_at=changed_at, tasks=1,
        is_finished=is_finished, is_going=is_going,
    )  # fmt: skip


def test_the_choice_is_by_age_and_number_and_says_how_old_a_job_must_be() -> None:
    """The database looks at that again by its own clock, so one clock that is wrong deletes nothing."""
    choice = Choice(Keeping(for_s=10, jobs=1), now_ms=100_000)
    assert list(choice.goes(age(89_000))) == [(age(89_000), 10)]
    assert list(choice.goes(age(91_000))) == []
    assert list(choice.goes(age(1, is_finished=False))) == []
    assert list(choice.goes(age(1, is_going=True))) == [(age(1, is_going=True), 0)]
    assert list(choice.goes(age(95_000))) == []  # one too many, but not old enough for anything
    assert Keeping().is_everything


def test_a_clock_that_was_set_deletes_nothing_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a jump, and after a start, a look waits: a wrong clock is mostly put right soon."""
    monkeypatch.setattr(retention, "SOONEST_LOOK_S", 0.001)

    async def body() -> None:
        async with opened() as world:
            await finished(world)
            activity, looks = Activity(), 0
            keeping = Retention(
                world.store, world.clock, Keeping(for_s=0.002), lambda _job: activity.deleted()
            )
            keeping._look_s = 0.001
            real = keeping.look

            async def look() -> None:
                nonlocal looks
                looks += 1
                await real()

            monkeypatch.setattr(keeping, "look", look)
            async with keeping:
                await asyncio.sleep(0.05)
                assert looks == 0  # no time has passed by the clock that cannot be set
                world.clock.advance(DAY_S)
                while not activity.jobs_deleted:
                    world.clock.advance(0.001)
                    await asyncio.sleep(0.001)
            assert await ids(world) == set()

    run_async(body)
