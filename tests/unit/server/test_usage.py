"""What the stores add up for reports, and tell for the timeline."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from server.store.commands import DeleteJob, EnsureOrganisation, UpdateJob
from server.store.queries import RunQuery
from server.store.records import Deletion
from server.store.usage import Ending, SpanQuery, Spans, Usage, UsageQuery, UsageRow
from server.times import to_ms
from tests.unit.server.world import World, opened, run_async
from worker.api.wire import ErrorKind

pytestmark = pytest.mark.usefixtures("each_store")

SECOND = 1000


async def ended(world: World, error: str | None = None, **fields: Any) -> None:
    """Make a task with a run that has stopped."""
    end: dict[str, Any] = (
        {"result_code": "Success"} if error is None else {"result_code": "Failed", "error": error}
    )
    first = {name: fields.pop(name) for name in ("started_at", "pod_id") if name in fields}
    run = await world.claim(await world.task(await world.job()), **first)
    await world.put(run, **{"stopped_at": 10, **end, **fields})


async def usage(world: World, **asked: Any) -> list[UsageRow]:
    """Return the rows of the organisation."""
    return (await world.store.usage(UsageQuery(org_id=world.org_id, **asked))).rows


def test_runs_of_one_kind_are_added_up() -> None:
    """By type, machine, facts and end; agents of one machine are one."""

    async def scene() -> None:
        async with opened() as world:
            gpu: dict[str, Any] = {"gpu_type": "L4", "machine_type": "g2", "zone": "eu", "preemptible": True}
            used: dict[str, Any] = {"wall_clock_time": 2, "cpu_time": 1.5, "gpu_time": 4, "ram_usage": 100}
            await ended(world, pod_id="node-1/a", **gpu, **used)
            await ended(world, pod_id="node-1/b", **gpu, **used)
            await ended(world, pod_id="node-2", **gpu, **used)
            found = {row.machine: row for row in await usage(world)}
            one = found["node-1"]
            assert (one.task_type, one.machine_type, one.gpu_type, one.zone) == ("noop", "g2", "L4", "eu")
            assert (one.preemptible, one.ending, one.runs) == (True, Ending.SUCCEEDED, 2)
            assert (one.wall_s, one.cpu_s, one.gpu_s, one.ram_byte_s) == (4, 3, 8, 400)
            assert found["node-2"].runs == 1
            other = await world.store.apply(EnsureOrganisation(name="other"))
            assert await world.store.usage(UsageQuery(org_id=other)) == Usage([], 0)

    run_async(scene)


def test_what_is_unknown_of_some_stands_apart() -> None:
    """So that a sum is never one of fewer runs than it says; nonsense is unknown."""

    async def scene() -> None:
        async with opened() as world:
            await ended(world, wall_clock_time=2, cpu_time=1)
            await ended(world, wall_clock_time=3, cpu_time=None)
            await ended(world, wall_clock_time=4, cpu_time=1e300)
            found = {row.cpu_s: row for row in await usage(world)}
            assert (found[1].runs, found[1].wall_s, found[1].gpu_s) == (1, 2, None)
            assert (found[None].runs, found[None].wall_s) == (2, 7)

    run_async(scene)


def test_a_time_that_nobody_told_is_that_between_start_and_stop() -> None:
    """A stop before the start tells none."""

    async def scene() -> None:
        async with opened() as world:
            await ended(world, pod_id="a", started_at=1 * SECOND, stopped_at=4 * SECOND)
            await ended(world, pod_id="b", started_at=9 * SECOND, stopped_at=4 * SECOND)
            assert {row.machine: row.wall_s for row in await usage(world)} == {"a": 3, "b": None}

    run_async(scene)


def test_ends_are_told_apart() -> None:
    """By the word before the colon, whole; placeholders are no runs."""

    async def scene() -> None:
        async with opened() as world:
            for kind in ErrorKind:
                await ended(world, f"{kind.value}: why")
            await ended(world, "preempted")
            await ended(world, "preempted_by_aliens: no")
            await ended(world)
            await world.claim(await world.task(await world.job()))
            await world.post(await world.task(await world.job()))
            found: Counter[Ending] = Counter()
            for row in await usage(world):
                found[row.ending] += row.runs
            assert found == {
                Ending.PREEMPTED: 2,
                Ending.DRAINED: 1,
                Ending.LOST: 2,
                Ending.CANCELLED: 1,
                Ending.SUCCEEDED: 1,
                Ending.RUNNING: 1,
                Ending.FAILED: len(ErrorKind) - 5 + 1,
            }

    run_async(scene)


def test_reports_are_of_a_job_of_a_time_and_of_so_many() -> None:
    """The newest ones first."""

    async def scene() -> None:
        async with opened() as world:
            job = await world.job()
            await world.claim(await world.task(job), pod_id="old")
            world.clock.advance(60)
            since = to_ms(world.clock.now())
            await world.claim(await world.task(job), pod_id="new")
            await world.claim(await world.task(await world.job()), pod_id="other")
            assert {row.machine for row in await usage(world, job_id=job.id)} == {"old", "new"}
            assert {row.machine for row in await usage(world, since=since)} == {"new", "other"}
            assert {row.machine for row in await usage(world, most=2)} == {"new", "other"}

    run_async(scene)


def test_spans_are_those_that_reach_into_the_time() -> None:
    """Older ones while they live, however old; and whether there was more to look at."""

    async def scene() -> None:
        async with opened() as world:
            long = await world.claim(await world.task(await world.job()), started_at=1)
            world.clock.advance(86_400)
            made = to_ms(world.clock.now())
            day = made + 60 * SECOND
            for name, stopped_at in (("before", day - 1), ("into", day), ("within", day + 5)):
                run = await world.claim(await world.task(await world.job()), name, started_at=day - 9)
                await world.put(run, stopped_at=stopped_at, result_code="Success")
                world.clock.advance(1)
            query = SpanQuery(org_id=world.org_id, since=day, made_since=made)
            found = await world.store.spans(query)
            assert [span.id for span in found.spans] == ["within", "into", long.id]
            assert found.looked_at == 3
            first = found.spans[0]
            assert (first.started_at, first.stopped_at, first.ending) == (day - 9, day + 5, Ending.SUCCEEDED)
            assert found.spans[2].stopped_at is None
            cut = await world.store.spans(SpanQuery(org_id=world.org_id, since=day, made_since=made, most=1))
            assert ([span.id for span in cut.spans], cut.looked_at) == (["within", long.id], 1)
            assert (await world.store.spans(SpanQuery(org_id="other", since=0, made_since=0))).spans == []

    run_async(scene)


def test_a_run_that_was_made_in_the_time_is_a_span_whatever_clock_its_agent_has() -> None:
    """Those that were claimed are counted by the server's clock."""

    async def scene() -> None:
        async with opened() as world:
            run = await world.claim(await world.task(await world.job()), started_at=1)
            await world.put(run, stopped_at=9, result_code="Success")
            made = to_ms(world.clock.now())
            found = await world.store.spans(SpanQuery(org_id=world.org_id, since=made, made_since=made))
            assert [(span.id, span.took_s) for span in found.spans] == [(run.id, 0.008)]
            later = SpanQuery(org_id=world.org_id, since=made + 1, made_since=made)
            assert (await world.store.spans(later)).spans == []

    run_async(scene)


def test_runs_of_deleted_jobs_are_in_no_row_and_were_looked_at() -> None:
    """So that it is told where older runs were left out for them."""

    async def scene() -> None:
        async with opened() as world:
            await ended(world)
            world.clock.advance(1)
            job = await world.job()
            for _ in range(6):
                await world.put(await world.claim(await world.task(job)), stopped_at=9, result_code="Success")
            (age,) = [one for one in await world.store.job_ages(None, 9) if one.id == job.id]
            part = DeleteJob(org_id=world.org_id, id=job.id, changed_at=age.changed_at, age_ms=0, most=1)
            assert await world.store.apply(part) is Deletion.PARTLY
            found = await world.store.usage(UsageQuery(org_id=world.org_id))
            assert ([row.runs for row in found.rows], found.looked_at > 3) == ([1], True)
            cut = await world.store.usage(UsageQuery(org_id=world.org_id, most=3))
            assert cut == Usage([], 3)
            spans = await world.store.spans(SpanQuery(org_id=world.org_id, since=0, made_since=0, most=3))
            assert spans == Spans([], 3)

    run_async(scene)


def test_of_long_names_spans_and_sums_have_the_beginning() -> None:
    """Twenty thousand titles of a megabyte would fill the memory of a server that others share."""

    async def scene() -> None:
        async with opened() as world:
            task = await world.task(await world.job(), title="é" * 9_999, type="y" * 9_999)
            await world.claim(task, pod_id="z" * 9_999)
            (span,) = (await world.store.spans(SpanQuery(org_id=world.org_id, since=0, made_since=0))).spans
            assert (span.title, span.task_type, span.pod_id) == ("é" * 300, "y" * 300, "z" * 300)
            (row,) = await usage(world)
            assert (row.task_type, row.machine) == ("y" * 300, "z" * 300)

    run_async(scene)


def test_a_task_waits_from_when_it_was_made_or_its_run_before_ended() -> None:
    """By the server's clock; a requeue is a wish from when it was made."""

    async def scene() -> None:
        async with opened() as world:
            task = await world.task(await world.job())
            made = to_ms(world.clock.now())
            world.clock.advance(10)
            first = await world.claim(task)
            world.clock.advance(10)
            await world.put(first, stopped_at=9, result_code="Failed", error="preempted: gone")
            world.clock.advance(10)
            await world.post(task, "again")
            world.clock.advance(10)
            await world.claim(task, "second")
            query = SpanQuery(org_id=world.org_id, since=0, made_since=0)
            waits = {
                span.id: (span.wanted_at - made, span.made_at - made)
                for span in (await world.store.spans(query)).spans
            }
            assert waits == {first.id: (0, 10_000), "second": (30_000, 40_000)}
            runs = await world.store.runs(RunQuery(org_id=world.org_id, task_ids=(task.id,)))
            assert len(runs) == 3

    run_async(scene)


def test_what_waits_is_counted_by_type_in_one_organisation() -> None:
    """What may be claimed; not what is paused."""

    async def scene() -> None:
        async with opened() as world:
            job, paused = await world.job(), await world.job()
            begun = to_ms(world.clock.now())
            for type_ in ("draw", "draw", "cut"):
                await world.task(job, type=type_)
                world.clock.advance(1)
            await world.task(paused, type="draw")
            await world.store.apply(UpdateJob(org_id=world.org_id, id=paused.id, scheduler_state="paused"))
            found = await world.store.waiting(world.org_id)
            assert [(one.task_type, one.tasks, one.oldest_at - begun) for one in found] == [
                ("cut", 1, 2000),
                ("draw", 2, 0),
            ]
            assert await world.store.waiting("other") == []

    run_async(scene)
