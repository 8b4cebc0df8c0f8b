"""Pages far down a list: the same as by their number, at the cost of the first one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from server import paging
from server.paging import paged
from server.store.queries import JobQuery, Page, Place, RunQuery, Sort, TaskQuery
from server.store.sql import long_reads, reads
from server.store.sqlite.database import open_writer
from server.store.sqlite.dialect import SQLITE
from server.store.sqlite.migrate import migrate, migrations
from server.store.store import Store
from tests.unit.server.world import LIMIT_S, Kind, World, opened, run_async

pytestmark = pytest.mark.usefixtures("each_store")


@pytest.fixture(autouse=True)
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first pages of a test be far down already."""
    monkeypatch.setattr(paging, "NEAR", 1)


async def walked(store: Store, query: Any) -> list[str]:
    """Return the ids of a list, page by page."""
    found: list[str] = []
    for number in range(1, 30):
        part = structs.replace(query, page=structs.replace(query.page, number=number))
        if isinstance(part, TaskQuery):
            some = [answer.task.id for answer in await store.tasks(part)]
        elif isinstance(part, RunQuery):
            some = [answer.run.id for answer in await store.runs(part)]
        else:
            some = [job.id for job in await store.jobs(part)]
        found += some
        if len(some) < part.page.size:
            return found
    raise AssertionError("the list has no end")


async def filled(world: World, priorities: list[int]) -> None:
    """Make tasks of two types in two jobs, some of them run, some in the same millisecond."""
    jobs = [await world.job(), await world.job()]
    for at, priority in enumerate(priorities):
        task = await world.task(jobs[at % 2], type="ab"[at % 2], priority=priority)
        if at % 5 == 4:
            await world.claim(task)
        if at % 3 == 2:
            world.clock.advance(0.001)


@settings(max_examples=25, deadline=None)
@given(priorities=st.lists(st.integers(-1, 1), max_size=16), size=st.integers(1, 4))
def test_a_walk_through_all_pages_is_the_whole_list_in_order(priorities: list[int], size: int) -> None:
    """Whatever is listed, in every order that is by creation or priority, and in others."""

    async def body() -> None:
        async with asyncio.timeout(LIMIT_S), opened() as world:
            await filled(world, priorities)
            page = Page(size=size)
            newest = Page(size=size, sort=Sort("createdAt", descending=True))
            store = paged(world.store, world.clock)
            for query in (
                TaskQuery(org_id=world.org_id, statuses=("pending",), page=page),
                TaskQuery(org_id=world.org_id, statuses=("pending",), types=("a", "b"), page=page),
                TaskQuery(org_id=world.org_id, page=newest),
                TaskQuery(org_id=world.org_id, page=Page(size=size, sort=Sort("priority"))),
                RunQuery(org_id=world.org_id, page=page),
                RunQuery(org_id=world.org_id, is_live=True, page=newest),
                JobQuery(org_id=world.org_id, page=newest),
                JobQuery(org_id=world.org_id, statuses=("running",), page=page),
            ):
                whole = structs.replace(query, page=structs.replace(query.page, size=100))
                assert await walked(store, query) == await walked(world.store, whole)

    if not Kind.has_enough():
        asyncio.run(body())


def test_a_walk_leaves_nothing_out_when_tasks_go_away_meanwhile() -> None:
    """By their numbers alone, the pages after would begin too late; asked for anew, they do not."""

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            tasks = [await world.task(job) for _ in range(6)]
            store = paged(world.store, world.clock)

            async def page(number: int) -> list[str]:
                query = TaskQuery(
                    org_id=world.org_id, statuses=("pending",), page=Page(number=number, size=2)
                )
                return [answer.task.id for answer in await store.tasks(query)]

            assert await page(1) == [task.id for task in tasks[:2]]
            await world.claim(tasks[0])
            assert await page(2) == [task.id for task in tasks[2:4]]
            world.clock.advance(paging.KNOWN_S + 1)
            assert await page(2) == [task.id for task in tasks[3:5]]

    run_async(body)


def test_what_is_remembered_of_pages_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten; a page whose beginning is not known is found by its number."""
    monkeypatch.setattr(paging, "MOST_KNOWN", 3)

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            tasks = [await world.task(job) for _ in range(8)]
            store = paged(world.store, world.clock)
            query = TaskQuery(org_id=world.org_id, page=Page(size=1))
            assert await walked(store, query) == [task.id for task in tasks]
            ends = store._ends  # type: ignore[attr-defined]
            assert len(ends) == 3
            second = structs.replace(query, page=Page(number=2, size=1))
            assert [answer.task.id for answer in await store.tasks(second)] == [tasks[1].id]

    run_async(body)


def test_what_is_remembered_of_a_page_is_small_whatever_was_asked_for() -> None:
    """A filter may name a thousand jobs; what names its pages does not grow with it."""

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            for _ in range(3):
                await world.task(job)
            store = paged(world.store, world.clock)
            names = (job.id, *(f"{n:0200}" for n in range(500)))
            assert (
                len(await walked(store, TaskQuery(org_id=world.org_id, job_ids=names, page=Page(size=1))))
                == 3
            )
            assert [len(name) for name in store._ends] == [16] * 3  # type: ignore[attr-defined]

    run_async(body)


def test_pages_of_different_lists_do_not_know_each_other() -> None:
    """Another organisation, filter, order, size or kind of thing: none begins where this one ended."""
    sizes = [Page(number=5, size=2), Page(number=5, size=3), Page(number=6, size=2)]
    orders = [Page(number=5, size=2, sort=Sort("createdAt", descending)) for descending in (False, True)]
    queries: list[JobQuery | TaskQuery | RunQuery] = []
    for page in [*sizes, *orders]:
        for org_id in ("one", "two"):
            queries += [
                JobQuery(org_id=org_id, page=page),
                JobQuery(org_id=org_id, statuses=("a",), page=page),
            ]
            queries += [RunQuery(org_id=org_id, page=page), RunQuery(org_id=org_id, is_live=True, page=page)]
            for filters in ({}, {"types": ("a",)}, {"job_ids": ("a",)}, {"job_ids": ("a", "b")}):
                queries.append(TaskQuery(org_id=org_id, page=page, **filters))
    assert len({paging._key(query, query.page.number) for query in queries}) == len(queries)


def test_a_list_that_ended_earlier_than_before_shows_nothing_twice() -> None:
    """Who walks on to an empty page finds it, though somebody found more there a moment ago."""

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            tasks = [await world.task(job) for _ in range(9)]
            store = paged(world.store, world.clock)

            async def page(number: int) -> list[str]:
                query = TaskQuery(
                    org_id=world.org_id, statuses=("pending",), page=Page(number=number, size=3)
                )
                return [answer.task.id for answer in await store.tasks(query)]

            assert [await page(number) for number in (2, 3, 4)][1] == [task.id for task in tasks[6:]]
            for task in tasks[6:8]:
                await world.claim(task)
            newest = await world.task(job)
            assert await page(3) == [tasks[8].id, newest.id]
            assert await page(4) == []

    run_async(body)


def test_a_page_that_begins_after_a_place_is_a_range_of_its_index(tmp_path: Path) -> None:
    """Nothing before it is stepped over, and nothing is sorted."""
    if Kind.is_postgres:
        pytest.skip("tests/postgres/test_statements.py looks at the plans there")
    page = Page(number=9_999, size=100, after=Place(5, "x", 1))
    newest = structs.replace(page, sort=Sort("createdAt", descending=True))
    db = open_writer(tmp_path / "jobs.db")
    try:
        migrate(db, migrations(), 1)
        for sql, values in (
            reads.select_tasks(SQLITE, TaskQuery(org_id="o", statuses=("pending",), page=page)),
            reads.select_tasks(SQLITE, TaskQuery(org_id="o", statuses=("pending",), types=("a",), page=page)),
            reads.select_tasks(SQLITE, TaskQuery(org_id="o", job_ids=("j",), page=page)),
            reads.select_tasks(
                SQLITE, TaskQuery(org_id="o", job_ids=("j",), statuses=("stopped",), page=page)
            ),
            reads.select_tasks(SQLITE, TaskQuery(org_id="o", page=newest)),
            reads.select_runs(SQLITE, RunQuery(org_id="o", job_ids=("j",), page=page)),
            reads.select_runs(SQLITE, RunQuery(org_id="o", page=newest)),
        ):
            assert values[-1] == 0  # the offset
            plan = [row["detail"] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
            searches = [
                line for line in plan if "SEARCH" in line and ("SEARCH t" in line or "SEARCH r" in line)
            ]
            assert searches, plan
            assert all("(created_at,id)" in line or "priority<" in line for line in searches), plan
            assert not any("TEMP B-TREE" in line or "SCAN" in line for line in plan), plan
    finally:
        db.close()


def test_a_page_that_begins_after_a_place_is_quick_enough_for_the_event_loop() -> None:
    """However far down its number says that it is."""
    far = Page(number=9_999, size=100)
    assert long_reads.may_take_long(TaskQuery(org_id="o", page=far))
    assert not long_reads.may_take_long(TaskQuery(org_id="o", page=structs.replace(far, after=Place(5, "x"))))
