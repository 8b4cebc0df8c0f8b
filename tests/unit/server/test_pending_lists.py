"""Lists of pending tasks: the same as without any index, and as short a walk as their page."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.http.query import several
from server.store.queries import Page, RunQuery, Sort, TaskQuery
from server.store.sql import long_reads, reads
from server.store.sqlite.database import open_writer
from server.store.sqlite.dialect import SQLITE
from server.store.sqlite.migrate import migrate, migrations
from tests.unit.server.world import LIMIT_S, Kind, opened

pytestmark = pytest.mark.usefixtures("each_store")

TYPES = ("a", "b", "c", "d")


@settings(max_examples=40, deadline=None)
@given(
    made=st.lists(st.tuples(st.sampled_from(TYPES), st.integers(-1, 1)), max_size=20),
    types=st.sets(st.sampled_from(TYPES)),
    hidden=st.sets(st.integers(0, 19)),
    size=st.integers(1, 5),
    number=st.integers(1, 4),
)
def test_a_page_of_pending_tasks_is_a_part_of_the_whole_in_order(
    made: list[tuple[str, int]], types: set[str], hidden: set[int], size: int, number: int
) -> None:
    """By priority, then age; only the types asked for, without the hidden ones, however many there are."""

    async def body() -> None:
        async with asyncio.timeout(LIMIT_S), opened() as world:
            job = await world.job()
            tasks = [await world.task(job, type=type_, priority=priority) for type_, priority in made]
            out = frozenset(task.id for at, task in enumerate(tasks) if at in hidden)
            shown = [t.id for t in tasks if t.id not in out and (not types or t.type in types)]
            order = {task.id: (-task.priority, at) for at, task in enumerate(tasks)}
            query = TaskQuery(
                org_id=world.org_id,
                statuses=("pending",),
                types=tuple(types),
                hidden=out,
                page=Page(number=number, size=size),
            )
            found = [answer.task.id for answer in await world.store.tasks(query)]
            assert found == sorted(shown, key=order.__getitem__)[(number - 1) * size : number * size]

    if not Kind.has_enough():
        asyncio.run(body())


def test_a_poll_for_several_types_walks_along_those_only(tmp_path: Path) -> None:
    """An agent's poll does not step over the pending tasks of types it has no handler for."""
    db = open_writer(tmp_path / "jobs.db")
    try:
        migrate(db, migrations(), 1)
        sql, values = reads.select_tasks(SQLITE, TaskQuery(org_id="o", statuses=("pending",), types=TYPES))
        plan = [row["detail"] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    finally:
        db.close()
    searches = [step for step in plan if step.startswith(("SEARCH", "SCAN"))]
    assert len(searches) == len(TYPES)
    assert all("tasks_claimable_by_type (org_id=? AND type=?)" in step for step in searches)
    assert not [step for step in plan if "TEMP B-TREE" in step]


@pytest.mark.parametrize(
    ("query", "long"),
    [
        (TaskQuery(org_id="o", statuses=("pending",), types=TYPES), False),
        (TaskQuery(org_id="o", statuses=("pending",), types=tuple(map(str, range(100)))), True),
        (TaskQuery(org_id="o", statuses=("pending",), job_ids=("j",)), True),
        (TaskQuery(org_id="o", statuses=("stopped",)), True),
        (TaskQuery(org_id="o", statuses=("stopped",), job_ids=("j",)), False),
        (TaskQuery(org_id="o", types=("a",)), True),
        (TaskQuery(org_id="o", page=Page(sort=Sort("title"))), True),
        (TaskQuery(org_id="o", job_ids=("j",), page=Page(sort=Sort("runStatus"))), False),
        (TaskQuery(org_id="o", job_ids=("j",), types=("a",), page=Page(sort=Sort("runStatus"))), True),
        (TaskQuery(org_id="o", job_ids=("j", "k"), page=Page(sort=Sort("runStatus"))), True),
        (TaskQuery(org_id="o", page=Page(sort=Sort("runStatus"))), True),
        (TaskQuery(org_id="o"), False),
        (RunQuery(org_id="o", task_ids=("t",)), False),
        (RunQuery(org_id="o", job_ids=("i", "j")), True),
    ],
)
def test_lists_that_no_index_serves_leave_the_event_loop(query: long_reads.AnyQuery, long: bool) -> None:
    """What may step over any number of other rows is read in a thread."""
    assert long_reads.may_take_long(query) is long


def test_more_values_than_a_statement_takes_are_refused() -> None:
    """A filter has a bound, and is told so."""
    with pytest.raises(ValueError, match="not be more than 1000"):
        several("taskId", "ID").read([",".join(map(str, range(1001)))])
