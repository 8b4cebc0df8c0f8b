"""One transaction and what can happen to it: others, lost connections, a process that stands still."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psycopg
import pytest

from server.store.choice import DatabaseOptions
from server.store.commands import CreateRun, ReapRuns, RunFields, UpdateJob
from server.store.queries import RunQuery
from server.store.records import RunRecord
from server.store.refusal import OutcomeUnknown, Refused, StoreBusy, StoreFailed
from server.testing import running_server
from tests.contract.caller import Caller
from tests.postgres.cutting import wire
from tests.postgres.databases import cluster
from tests.postgres.standing import ask, hold
from tests.postgres.stores import run_async, servers

CUT_IDLE = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND state = 'idle in transaction'"""


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
