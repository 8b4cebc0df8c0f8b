"""One transaction and what can happen to it: others, lost connections, a process that stands still."""

from __future__ import annotations

import asyncio
import re
import tempfile
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psycopg
import pytest

from server.store.choice import DatabaseOptions
from server.store.commands import CreateRun, ReapRuns, RunFields, UpdateJob
from server.store.postgres import commands, session
from server.store.postgres.dialect import POSTGRES
from server.store.postgres.transaction import LOCK
from server.store.queries import JobQuery, Page, Place, RunQuery, TaskQuery
from server.store.records import RunRecord
from server.store.refusal import OutcomeUnknown, Refused, StoreBusy, StoreFailed
from server.store.sql import reads
from server.store.sql.run_commands import REPORTED
from server.testing import running_server
from tests.contract.caller import Caller
from tests.postgres.cutting import wire
from tests.postgres.databases import cluster, empty_database
from tests.postgres.stores import run_async, servers

Execute = Callable[..., Any]


CUT_IDLE = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND state = 'idle in transaction'"""


def name_of(url: str) -> str:
    """Return the name of the database in a URL."""
    return url.partition("@/")[2].partition("?")[0]


def ask(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Do a statement beside the servers."""
    return cluster().ask(sql, name_of(url))


def hold(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Let the first claim stand still between its last statement and its commit."""
    real: Execute = commands.execute
    reached, go_on = threading.Event(), threading.Event()

    def execute(tx: Any, command: Any, jumps: Any) -> Any:
        answer = real(tx, command, jumps)
        if isinstance(command, CreateRun) and not reached.is_set():
            tx.one("SELECT 1")  # what went before is at the database now
            reached.set()
            go_on.wait(20)
        return answer

    monkeypatch.setattr(session, "execute", execute)  # no process can be asked to stop there
    return reached, go_on


async def persistently(ask_: Callable[[], Coroutine[Any, Any, RunRecord]]) -> RunRecord:
    """Ask until the store has time."""
    while True:
        try:
            return await ask_()
        except (StoreBusy, StoreFailed):
            await asyncio.sleep(0.05)


def test_the_database_itself_refuses_a_second_live_run(url: str) -> None:
    """One live run per task holds by an index, not only by locks and rules above it."""

    async def body() -> None:
        async with servers(url, 1) as (one,):
            await one.claim(await one.task(await one.job()))
            second = (
                "INSERT INTO runs (org_id, id, task_id, job_id, created_by, created_at, updated_at,"
                " started_at, report_progress)"
                " SELECT org_id, 'x', task_id, job_id, 'me', created_at + 1, 1, 1, TRUE FROM runs"
            )
            with pytest.raises(psycopg.errors.UniqueViolation, match="runs_live"):
                await asyncio.to_thread(ask, url, second)

    run_async(body)


def test_of_many_claims_at_two_servers_one_wins(url: str) -> None:
    """Whoever asks where, a task is one agent's; the others are told so, and counters are right."""

    async def body() -> None:
        async with servers(url, 2) as both:
            job = await both[0].job()
            tasks = [await both[0].task(job) for _ in range(10)]
            claims = [
                both[n % 2].store.apply(
                    CreateRun(
                        org_id=both[0].org_id,
                        created_by="me",
                        task_id=task.id,
                        fields=RunFields(started_at=5, pod_id=f"pod-{n}"),
                    )
                )
                for task in tasks
                for n in range(6)
            ]
            answers = await asyncio.gather(*claims, return_exceptions=True)
            won = [answer for answer in answers if not isinstance(answer, BaseException)]
            lost = [answer for answer in answers if isinstance(answer, Refused)]
            assert {answer.run.task_id for answer in won} == {task.id for task in tasks}
            assert (len(won), len(lost)) == (10, 50)
            assert {refused.code for refused in lost} == {"task_not_pending"}
            assert await both[1].counters(job) == (0, 10, 0)

    run_async(body)


def test_the_same_claim_at_two_servers_at_once_is_one_run(url: str) -> None:
    """An agent that repeats what has no answer yet, elsewhere, gets the same run from both."""

    async def body() -> None:
        async with servers(url, 2) as both:
            job = await both[0].job()
            for _ in range(10):
                task = await both[0].task(job)
                runs = await asyncio.gather(*(server.claim(task) for server in both * 2))
                assert len({run.created_at for run in runs}) == 1

    run_async(body)


def test_a_transaction_that_is_cut_before_its_commit_is_done_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing had happened, so the caller notices nothing."""

    async def body() -> None:
        async with servers(url, 1) as (one,):
            task = await one.task(await one.job())
            reached, go_on = hold(monkeypatch)
            claim = asyncio.create_task(one.claim(task))
            await asyncio.to_thread(reached.wait, 20)
            await asyncio.to_thread(ask, url, CUT_IDLE)
            go_on.set()
            run = await claim
            assert [answer.run for answer in await one.store.runs(RunQuery(org_id=one.org_id))] == [run]

    run_async(body)


def test_a_server_that_stood_still_writes_nothing_stale(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its locks are taken from it, another agent gets the task elsewhere, and its own claim is refused."""

    async def body() -> None:
        async with servers(url, 2, DatabaseOptions(connections=2, timeout_s=0.3)) as (one, two):
            job = await one.job()
            task = await one.task(job)
            reached, go_on = hold(monkeypatch)
            stale = asyncio.create_task(one.claim(task, "stale"))
            await asyncio.to_thread(reached.wait, 20)
            run = await persistently(lambda: two.claim(task, "other"))
            go_on.set()
            with pytest.raises(Refused) as refused:
                await stale
            assert refused.value.code == "run_conflict"
            assert run.pod_id == "other"
            assert await one.counters(job) == (0, 1, 0)

    run_async(body)


def test_a_commit_whose_answer_is_lost_is_said_to_be_unknown_and_can_be_repeated(url: str) -> None:
    """The write happened; who sends it again gets the first answer, and it happened once."""

    async def body(folder: str) -> None:
        with wire(Path(folder), cluster().folder) as way:
            async with servers(url.replace(str(cluster().folder), folder), 1) as (one,):
                job = await one.job()
                task = await one.task(job)
                way.lose_answers = True
                with pytest.raises(OutcomeUnknown, match="not known whether"):
                    await one.claim(task)
                way.lose_answers = False
                assert way.cuts == 1
                stored = [answer.run for answer in await one.store.runs(RunQuery(org_id=one.org_id))]
                assert [await one.claim(task)] == stored
                way.lose_answers = True
                with pytest.raises(OutcomeUnknown):
                    await one.put(stored[0], stopped_at=9, result_code="Success")
                way.lose_answers = False
                again = await one.put(stored[0], stopped_at=9, result_code="Success")
                assert again.result_code == "Success"
                assert await one.counters(job) == (0, 0, 1)

    with tempfile.TemporaryDirectory(prefix="wire-") as folder:
        run_async(lambda: body(folder))


def test_a_commit_that_the_database_dies_in_is_unknown_and_did_not_happen(url: str) -> None:
    """Unknown means both: here nothing was stored, and the repetition stores it."""
    ask(
        url,
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';"
        "CREATE CONSTRAINT TRIGGER dies AFTER INSERT ON runs DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION die()",
    )

    async def body() -> None:
        async with servers(url, 1) as (one,):
            task = await one.task(await one.job())
            with pytest.raises(OutcomeUnknown):
                await one.claim(task)
            assert await one.store.runs(RunQuery(org_id=one.org_id)) == []
            await asyncio.to_thread(ask, url, "DROP TRIGGER dies ON runs; DROP FUNCTION die")
            assert (await one.claim(task)).task_id == task.id

    run_async(body)


def test_a_task_that_settles_while_its_job_is_closed_is_stopped(url: str) -> None:
    """Whatever comes first, no task of a closed job stays pending, and none of a paused one is listed."""

    async def body() -> None:
        async with servers(url, 2) as (one, two):
            for state, status in (("cancelled", (0, 0, 8)), ("paused", (8, 0, 0))):
                job = await one.job()
                tasks = [await one.task(job) for _ in range(8)]
                runs = [await one.claim(task) for task in tasks]
                for task in tasks:
                    await one.store.apply(
                        CreateRun(org_id=one.org_id, created_by="me", task_id=task.id, fields=RunFields())
                    )
                await asyncio.gather(
                    *(one.put(run, stopped_at=9, result_code="Failed") for run in runs),
                    two.store.apply(UpdateJob(org_id=two.org_id, id=job.id, scheduler_state=state)),
                )
                assert await one.counters(job) == status
                marked = ask(url, "SELECT job_id FROM tasks WHERE job_is_active")
                assert marked == []

    run_async(body)


def test_locks_are_taken_from_job_to_task(url: str) -> None:
    """A claim that waits for its job holds nothing that who has the job may wait for."""

    async def body() -> None:
        async with servers(url, 1) as (one,):
            job = await one.job()
            task = await one.task(job)
            async with await psycopg.AsyncConnection.connect(url) as db:
                await db.execute("SELECT 1 FROM jobs WHERE id = %s FOR UPDATE", (job.id,))
                claim = asyncio.create_task(one.claim(task))
                while not ask(url, "SELECT 1 FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await db.execute("SELECT 1 FROM tasks WHERE id = %s FOR UPDATE NOWAIT", (task.id,))
            assert (await claim).task_id == task.id

    run_async(body)


def test_silent_runs_are_reaped_once_by_two_servers_at_once(url: str) -> None:
    """Each run is stopped and requeued by one of them."""

    async def body() -> None:
        async with servers(url, 2) as both:
            job = await both[0].job()
            for _ in range(12):
                await both[0].claim(await both[0].task(job), lease_ms=1)
            await asyncio.sleep(0.05)
            counts: list[int] = []
            while sum(counts) < 12:
                reap = ReapRuns(lease_ms=90_000, most=5)
                counts += await asyncio.gather(*(server.store.apply(reap) for server in both * 2))
            assert sum(counts) == 12
            assert await both[1].counters(job) == (12, 0, 0)
            runs = ask(url, "SELECT count(*), count(*) FILTER (WHERE error LIKE 'worker_lost%') FROM runs")
            assert runs == [(24, 12)]

    run_async(body)


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


def test_a_write_of_which_nobody_knows_is_not_said_to_be_not_done(url: str) -> None:
    """The answer says that it may be stored, and where nothing was tried, that it is not."""
    with (
        tempfile.TemporaryDirectory(prefix="wire-") as folder,
        wire(Path(folder), cluster().folder) as way,
        running_server(url.replace(str(cluster().folder), folder)) as server,
    ):
        caller = Caller("ours", server.url, server.token)
        way.lose_answers = True
        answer = caller.call("POST", "/api/jobs", json={"id": "job"})
        way.lose_answers = False
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json()["error"]["message"].startswith("It may be stored, try again")
        assert caller.call("GET", "/api/jobs/job").status_code == 200
        with psycopg.connect(url) as other:
            other.execute("SELECT 1 FROM jobs WHERE id = 'job' FOR UPDATE")
            answer = caller.call("PUT", "/api/jobs/job", json={"title": "x"})
            assert answer.status_code == 503
            assert answer.json()["error"]["message"].startswith("Not done, try again")
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
            for sql in (LOCK + POSTGRES.lock_task, REPORTED):
                rows = await one.store._read(f"EXPLAIN {sql}", [one.org_id, runs[0].id])  # type: ignore[attr-defined]
                plans.append("\n".join(row["QUERY PLAN"] for row in rows))

    with empty_database() as url:  # none that is used again: autovacuum may have analysed it
        run_async(lambda: body(url))
    for plan in plans:
        assert plan.count("_pkey on") >= 3, plan
        assert "Rows Removed" not in plan
        assert not re.search(r"using (runs_of_job|runs_by_creation|tasks_by_\w+)", plan), plan


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
