"""Statements on a real PostgreSQL: who waits for one too long, what it finds, along which index."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import psycopg
import pytest

from server.store.choice import DatabaseOptions
from server.store.postgres.dialect import POSTGRES
from server.store.postgres.transaction import LOCK
from server.store.queries import JobQuery, Page, Place, RunQuery, Sort, TaskQuery
from server.store.refusal import StoreBusy
from server.store.sql import reads
from server.store.sql.reported import reported, reported_briefly
from server.testing import running_server
from tests.contract.caller import Caller
from tests.postgres.databases import empty_database
from tests.postgres.standing import ask, hold
from tests.postgres.stores import run_async, servers

MANY = """
INSERT INTO organisations VALUES ('o', 'o', 1);
INSERT INTO jobs SELECT 'o', 'j' || n, 'me', NULL, 't', 'active', 0, '{}', FALSE, n, n
FROM generate_series(1, 2000) n;
INSERT INTO tasks SELECT 'o', 't' || n, 'j1', 'me', NULL, 'type' || n % 3, NULL, n % 5, '{}', NULL,
TRUE, n, n, NULL, CASE WHEN n % 10 = 0 THEN 'pending' ELSE 'stopped' END, NULL, NULL, TRUE
FROM generate_series(1, 30000) n;
INSERT INTO runs (org_id, id, task_id, job_id, created_by, created_at, updated_at, started_at, stopped_at,
    report_progress)
SELECT org_id, 'r' || id, id, job_id, 'me', created_at, created_at, 1, CASE WHEN priority > 0 THEN 2 END, TRUE
FROM tasks WHERE run_status = 'stopped';
ANALYZE"""


def test_an_overloaded_database_is_said_at_once_and_work_goes_on_after(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits too long for a connection is told to come back; nothing that was taken is lost."""

    async def body() -> None:
        async with servers(url, 1, DatabaseOptions(connections=1)) as (one,):
            job = await one.job()
            task = await one.task(job)
            reached, go_on = hold(monkeypatch)
            claim = asyncio.create_task(one.claim(task))
            await asyncio.to_thread(reached.wait, 20)
            waiting = [asyncio.create_task(one.counters(job)) for _ in range(70)]
            await asyncio.sleep(0.1)
            full = [each for each in waiting if each.done()]
            assert 70 - 63 <= len(full) <= 70 - 63 + 1  # what the server looks for by itself may wait too
            assert all(isinstance(each.exception(), StoreBusy) for each in full)
            await asyncio.sleep(2.1)
            go_on.set()
            late = await asyncio.gather(*waiting, return_exceptions=True)
            assert all(isinstance(answer, StoreBusy) for answer in late)
            assert (await claim).task_id == task.id
            assert await one.counters(job) == (0, 1, 0)

    run_async(body)


def test_a_busy_database_is_a_503_with_retry_after(url: str) -> None:
    """A lock that is not let go costs its own bound, and the client is told to come back."""
    with running_server(url) as server, psycopg.connect(url) as other:
        caller = Caller("ours", server.url, server.token)
        task = caller.task()
        other.execute("SELECT 1 FROM tasks WHERE id = %s FOR UPDATE", (task["id"],))
        answer = caller.call("PUT", f"/api/jobs/tasks/{task['id']}", json={"title": "x"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"]
        other.rollback()
        assert caller.expect("PUT", f"/api/jobs/tasks/{task['id']}", json={"title": "x"})["title"] == "x"
        caller.http.close()


def test_who_waits_for_a_lock_is_told_so_however_short_statements_are(url: str) -> None:
    """Not that the database failed: after that, a reaper would grant every run another lease."""

    async def body() -> None:
        async with servers(url, 1, DatabaseOptions(connections=1, timeout_s=1.0)) as (one,):
            task = await one.task(await one.job())
            async with await psycopg.AsyncConnection.connect(url) as db:
                await db.execute("SELECT 1 FROM tasks WHERE id = %s FOR UPDATE", (task.id,))
                with pytest.raises(StoreBusy, match="Another change"):
                    await one.claim(task)

    run_async(body)


def test_texts_come_back_as_they_were_and_nul_is_shown_as_a_sign(url: str) -> None:
    """JSON is kept to the byte; PostgreSQL has no NUL, and no report is refused for one."""

    async def body() -> None:
        async with servers(url, 1) as (one,):
            parameters = '{"n": 123456789012345678901, "x": 1.10, "nul": "\\u0000", "s": "\\ud83d\\ude00 ä"}'
            task = await one.task(await one.job(), parameters=parameters, title="a\0b")
            assert (bytes(task.parameters).decode(), task.title) == (parameters, "a\ufffdb")
            run = await one.claim(task)
            report: dict[str, Any] = {"stopped_at": 9, "result_code": "Failed", "error": "crashed: \0"}
            first = await one.put(run, cpu_time=1.5, ram_usage=2**53, **report)
            assert (first.error, first.cpu_time, first.ram_usage) == ("crashed: \ufffd", 1.5, 2**53)
            assert await one.put(run, **report) == first

    run_async(body)


def test_a_plan_of_before_a_migration_is_made_anew(url: str) -> None:
    """A newer server adds a column while this one serves; its prepared statements notice nothing."""

    async def body() -> None:
        async with servers(url, 1, DatabaseOptions(connections=1)) as (one,):
            job = await one.job()
            for _ in range(12):  # prepared after some
                await one.counters(job)
                await one.task(job)
            await asyncio.to_thread(ask, url, "ALTER TABLE jobs ADD COLUMN later TEXT")
            await asyncio.to_thread(ask, url, "ALTER TABLE tasks ADD COLUMN later TEXT")
            assert await one.counters(job) == (12, 0, 0)
            await one.task(job)
            await asyncio.to_thread(ask, url, "ALTER TABLE jobs DROP COLUMN later")
            await asyncio.to_thread(ask, url, "ALTER TABLE tasks DROP COLUMN later")
            assert await one.counters(job) == (13, 0, 0)

    run_async(body)


def test_a_young_database_finds_rows_by_their_ids() -> None:
    """Before anything was analysed, and for an organisation that no statistics know."""
    plans = []

    async def body(url: str) -> None:
        async with servers(url, 1) as (one,):
            job = await one.job()
            tasks = [await one.task(job) for _ in range(3)]
            runs = [await one.claim(task) for task in tasks]
            for sql in (LOCK + POSTGRES.lock_task, reported(POSTGRES), reported_briefly(POSTGRES)):
                rows = await one.store._read(f"EXPLAIN {sql}", [one.org_id, runs[0].id])  # type: ignore[attr-defined]
                plans.append("\n".join(row["QUERY PLAN"] for row in rows))

    with empty_database() as url:  # none that is used again: autovacuum may have analysed it
        run_async(lambda: body(url))
    for plan in plans:
        assert plan.count("_pkey on") >= 3, plan
        assert "Rows Removed" not in plan
        assert not re.search(r"using (runs_of_job|runs_by_creation|tasks_by_\w+)", plan), plan


def test_a_page_that_begins_after_a_place_is_a_range_of_the_index(url: str) -> None:
    """A part for the rest of its priority, one for all below; neither steps over what lies before."""
    plans: list[str] = []

    async def body() -> None:
        ask(url, MANY)
        page = Page(number=9_999, after=Place(9, "t9", 1))
        query = TaskQuery(org_id="o", statuses=("pending",), page=page)
        async with servers(url, 1) as (one,):
            sql, values = reads.select_tasks(POSTGRES, query)
            rows = await one.store._read(f"EXPLAIN {sql}", values)  # type: ignore[attr-defined]
            plans.append("\n".join(row["QUERY PLAN"] for row in rows))

    run_async(body)
    (plan,) = plans
    ranges = [line for line in plan.splitlines() if "Index Cond" in line and "priority" in line]
    assert len(ranges) == 2, plan
    assert "ROW(created_at, id) > ROW" in ranges[0]
    assert "priority < " in ranges[1]
    assert plan.count("tasks_claimable") == 2


def test_lists_walk_along_an_index(url: str) -> None:
    """A poll costs the same with a million tasks: neither a scan of the table nor a sort."""
    plans = []

    async def body() -> None:
        ask(url, MANY)
        async with servers(url, 1) as (one,):
            for statement in (
                reads.select_tasks(POSTGRES, TaskQuery(org_id="o", statuses=("pending",))),
                reads.select_tasks(
                    POSTGRES, TaskQuery(org_id="o", statuses=("pending",), types=("type1", "type2"))
                ),
                reads.select_tasks(
                    POSTGRES, TaskQuery(org_id="o", statuses=("pending",), hidden=frozenset({"t10", "t20"}))
                ),
                reads.select_tasks(POSTGRES, TaskQuery(org_id="o", job_ids=("j1",))),
                reads.select_tasks(
                    POSTGRES, TaskQuery(org_id="o", job_ids=("j1",), page=Page(sort=Sort("runStatus")))
                ),
                reads.select_tasks(POSTGRES, TaskQuery(org_id="o")),
                reads.select_runs(POSTGRES, RunQuery(org_id="o", is_live=True)),
                reads.select_tasks(
                    POSTGRES, TaskQuery(org_id="o", job_ids=("j1",), page=Page(after=Place(9, "t9")))
                ),
                reads.select_jobs(POSTGRES, JobQuery(org_id="o")),
                (reads.count_running(POSTGRES), []),
            ):
                sql, values = statement
                rows = await one.store._read(f"EXPLAIN {sql}", values)  # type: ignore[attr-defined]
                plans.append((sql, "\n".join(row["QUERY PLAN"] for row in rows)))

    run_async(body)
    for sql, plan in plans:
        assert "Index Scan using" in plan or "Index Only Scan using" in plan, (sql, plan)
        assert "Seq Scan on tasks" not in plan, (sql, plan)
        assert "Sort" not in plan.replace("Sort Key", ""), (sql, plan)
