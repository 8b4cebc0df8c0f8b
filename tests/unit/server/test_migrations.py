"""Migrations: in order, once, all or nothing, never backwards."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from server.store.migration import Migration
from server.store.queries import TASK_STATES, JobQuery, Page, RunQuery, Sort, TaskQuery
from server.store.refusal import DatabaseError
from server.store.sql import long_reads, reads, reaping
from server.store.sqlite.database import database_path, open_writer
from server.store.sqlite.dialect import SQLITE
from server.store.sqlite.migrate import migrate, migrations
from tests.unit.server.world import opened, rows, run_async


def test_the_shipped_files_are_numbered_without_gaps() -> None:
    """Numbers say the order; a gap would be a file that was forgotten in the package."""
    steps = migrations()
    assert [step.version for step in steps] == list(range(1, len(steps) + 1))


def test_a_second_start_applies_nothing_and_keeps_the_data(tmp_path: Path) -> None:
    """Opening a database again finds what was stored."""
    url = f"sqlite:///{tmp_path / 'jobs.db'}"

    async def make() -> str:
        async with opened(url) as world:
            return (await world.job()).id

    async def find(job_id: str) -> bool:
        async with opened(url) as world:
            return await world.store.job(world.org_id, job_id) is not None

    assert asyncio.run(find(asyncio.run(make())))
    versions = rows(str(tmp_path / "jobs.db"), "SELECT version FROM schema_version")
    assert versions == [(step.version,) for step in migrations()]


def test_a_job_that_an_older_program_left_half_closed_is_closed(tmp_path: Path) -> None:
    """It had no mark for such a job; the step makes one, and the start goes on."""
    db = open_writer(tmp_path / "jobs.db")
    migrate(db, [step for step in migrations() if step.version < 7], 1)
    db.execute("INSERT INTO organisations VALUES ('o', 'o', 1)")
    db.execute(
        "INSERT INTO jobs (org_id, id, created_by, scheduler_state, priority, parameters, status, created_at,"
        " updated_at) VALUES ('o', 'j', 'me', 'cancelled', 0, '{}', 'pending', 1, 1)"
    )
    db.execute("INSERT INTO job_counters VALUES ('o', 'j', 0, 1, 0, 0, 0, 0, 0, 1)")
    db.execute(
        "INSERT INTO tasks (org_id, id, job_id, created_by, type, priority, parameters, report_progress,"
        " created_at, updated_at, run_status, job_is_active)"
        " VALUES ('o', 't', 'j', 'me', 'x', 0, '{}', 1, 1, 1, 'pending', 0)"
    )
    db.close()

    async def body() -> None:
        async with opened(f"sqlite:///{tmp_path / 'jobs.db'}") as world:
            while (job := await world.store.job("o", "j")) and job.task_status_pending:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert job is not None
            assert job.task_status_stopped == 1

    run_async(body)


def test_a_newer_database_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """An older program never writes into a schema that it does not know."""
    db = open_writer(tmp_path / "jobs.db")
    try:
        migrate(db, [*migrations(), Migration(99, "0099_future.sql", "CREATE TABLE future (x);")], 1)
        with pytest.raises(DatabaseError, match=r"has schema version 99.*start the newer program"):
            migrate(db, migrations(), 1)
        assert not db.in_transaction
    finally:
        db.close()


def test_a_failing_step_leaves_the_schema_as_it_was(tmp_path: Path) -> None:
    """Steps stand or fall together."""
    db = open_writer(tmp_path / "jobs.db")
    try:
        broken = Migration(2, "0002_broken.sql", "CREATE TABLE one (x);\nCREATE TABLE one (x);\n")
        with pytest.raises(DatabaseError, match="table one already exists"):
            migrate(db, [migrations()[0], broken], 1)
        assert db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        assert migrate(db, migrations(), 1) == len(migrations())
    finally:
        db.close()


@pytest.mark.parametrize("url", ["postgresql://x", "sqlite:///", "jobs.db", ""])
def test_a_url_of_no_database_is_refused_with_an_example(url: str) -> None:
    """The message shows how such a URL looks."""
    with pytest.raises(DatabaseError, match="sqlite:////absolute/file"):
        database_path(url)


def test_a_database_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """The message names the file and asks about its folder."""
    with pytest.raises(DatabaseError, match="does its folder exist"):
        open_writer(tmp_path / "missing" / "jobs.db")


@pytest.mark.parametrize(
    ("status", "index"),
    [("pending", "tasks_pending_of_job"), ("running", "tasks_running"), ("stopped", "tasks_stopped_of_job")],
)
def test_tasks_of_a_job_in_a_status_are_not_looked_for_among_all_of_it(
    tmp_path: Path, status: str, index: str
) -> None:
    """A job of a million that have stopped shows its last pending ones at once, and the other way round."""
    connection = open_writer(tmp_path / "jobs.db")
    try:
        migrate(connection, migrations(), 1)
        by_creation = Page(sort=Sort("createdAt"))
        query = TaskQuery(org_id="o", job_ids=("j",), statuses=(status,), page=by_creation)
        sql, values = reads.select_tasks(SQLITE, query)
        (plan,) = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        assert f"USING INDEX {index} " in plan
    finally:
        connection.close()


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("statuses", [(), ("pending", "stopped")])
def test_tasks_of_a_job_by_status_are_walked_along_an_index_for_each(
    tmp_path: Path, statuses: tuple[str, ...], descending: bool
) -> None:
    """The first page of a million costs as much as that of ten; nothing is sorted."""
    connection = open_writer(tmp_path / "jobs.db")
    try:
        migrate(connection, migrations(), 1)
        by_status = Page(sort=Sort("runStatus", descending))
        query = TaskQuery(org_id="o", job_ids=("j",), statuses=statuses, page=by_status)
        sql, values = reads.select_tasks(SQLITE, query)
        plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        searched = [step for step in plan if step.startswith(("SEARCH", "SCAN"))]
        assert len(searched) == (len(statuses) or 3)
        assert all("USING INDEX tasks_" in step for step in searched)
        assert not [step for step in plan if "TEMP B-TREE" in step]
        assert not long_reads.may_take_long(query)
    finally:
        connection.close()


def test_lists_of_claimable_tasks_and_runs_use_an_index(tmp_path: Path) -> None:
    """A poll costs the same with a million tasks: neither a scan nor a sort."""
    connection = open_writer(tmp_path / "jobs.db")
    try:
        migrate(connection, migrations(), 1)
        for sql, values in (
            reads.select_tasks(SQLITE, TaskQuery(org_id="o", statuses=("pending",))),
            reads.select_tasks(SQLITE, TaskQuery(org_id="o", statuses=("pending",), types=("a",))),
            reads.select_tasks(SQLITE, TaskQuery(org_id="o", job_ids=("j",))),
            reads.select_tasks(SQLITE, TaskQuery(org_id="o", statuses=("running",))),
            reads.select_tasks(SQLITE, TaskQuery(org_id="o", job_ids=("j",), statuses=("stopped",))),
            reads.select_tasks(SQLITE, TaskQuery(org_id="o")),
            *(
                reads.select_tasks(SQLITE, TaskQuery(org_id="o", job_ids=("j",), state=state))
                for state in TASK_STATES
            ),
            reads.select_runs(SQLITE, RunQuery(org_id="o", job_ids=("j",))),
            reads.select_runs(SQLITE, RunQuery(org_id="o", task_ids=("t",))),
        ):
            plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
            assert any("USING INDEX" in line for line in plan), plan
            assert not any("SCAN" in line or "TEMP B-TREE FOR ORDER BY" in line for line in plan), (sql, plan)
        sql, values = reads.select_runs(SQLITE, RunQuery(org_id="o", is_live=True))
        assert "INDEXED BY runs_live_by_creation" in sql  # SQLite 3.53 would take that of all runs by itself
        plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        assert any("runs_live_by_creation" in line for line in plan), plan
        assert not any("TEMP B-TREE" in line for line in plan), plan
        for statement in (reaping.SILENT, reaping.CLAMP):
            sql = statement.format(live_runs=SQLITE.live_runs())
            plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", (1, 1))]
            assert "SCAN runs USING INDEX runs_live_by_creation" in plan, (
                plan
            )  # of those that live, by leases
        sql, values = reads.select_jobs(SQLITE, JobQuery(org_id="o"))
        plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        assert any("jobs_by_creation" in line for line in plan)
    finally:
        connection.close()
