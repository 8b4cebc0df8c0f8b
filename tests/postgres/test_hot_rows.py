"""Tasks of one job are claimed beside each other: no row of the job is one that all of them wait for.

A claim is held open by the test on a connection of its own, so nothing here depends on speed: who has to wait
for it is refused at the end of the time for locks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from server.ids import ordered_ids
from server.store.choice import DatabaseOptions
from server.store.commands import CreateRun, RunFields
from server.store.postgres.counters import SHARDS
from server.store.postgres.database import Limits, connect, target_of
from server.store.postgres.session import TIME
from server.store.postgres.store import PostgresStore
from server.store.postgres.transaction import PostgresTransaction
from server.store.records import TaskRecord
from server.store.refusal import StoreBusy
from server.store.sql.execute import execute
from tests.postgres.stores import Server, run_async, servers
from worker.clock import SystemClock

SHORT = DatabaseOptions(connections=2, timeout_s=1.0)  # who waits for a lock is refused after that


@contextmanager
def open_claim(url: str, org_id: str, task: TaskRecord, shard: int, *, is_counted: bool) -> Iterator[None]:
    """Claim a task as another server does, and commit when the block ends.

    Counters are written last, together with the commit; `is_counted`: they are written already.
    """
    command = CreateRun(
        org_id=org_id,
        created_by="other",
        task_id=task.id,
        id=f"run-of-{task.id}",
        fields=RunFields(started_at=5, pod_id="other"),
    )
    with connect(target_of(url), Limits()) as connection, connection.pipeline() as pipeline:
        now_ms = connection.execute(TIME).fetchall()[0]["now_ms"]
        connection.execute("BEGIN")
        tx = PostgresTransaction(connection, pipeline, lambda: now_ms, ordered_ids(SystemClock()), shard)
        execute(tx, command)
        if is_counted:
            tx.counters.write()
        assert tx.one("SELECT 1 FROM runs WHERE id = ?", f"run-of-{task.id}")
        yield
        tx.counters.write()
        tx.send()
        connection.execute("COMMIT")
        pipeline.sync()


def shards_of(server: Server) -> set[int]:
    """Return the shards that the connections of a server count in."""
    assert isinstance(server.store, PostgresStore)
    return {session._shard for session in server.store._workers._sessions}


@pytest.mark.parametrize("is_counted", [False, True])
def test_claims_of_different_tasks_of_a_job_do_not_wait_for_each_other(url: str, *, is_counted: bool) -> None:
    """Beside a claim that is not committed the job's other tasks are claimed, reported on, done and made.

    Its own task is the one that waits. Counters are right before the commit and after it.
    """

    async def body() -> None:
        async with servers(url, 2, SHORT) as both:
            job = await both[0].job()
            held, *tasks = [await both[0].task(job) for _ in range(5)]
            shard = min(set(range(SHARDS)) - shards_of(both[0]) - shards_of(both[1]))
            with open_claim(url, both[0].org_id, held, shard, is_counted=is_counted):
                for number, task in enumerate(tasks):
                    server = both[number % 2]
                    run = await server.claim(task)
                    await server.put(run, progress=500_000)
                    if number < 2:
                        await server.put(run, stopped_at=9, result_code="Success")
                await both[0].task(job)
                with pytest.raises(StoreBusy):
                    await both[1].claim(held)
                assert await both[0].counters(job) == (2, 2, 2)  # the held one is pending for all others
            for server in both:
                assert await server.counters(job) == (1, 3, 2)

    run_async(body)


def test_a_row_of_counters_is_held_for_a_commit_only(url: str) -> None:
    """Who counts in the row of another claim does not wait for what goes before its commit."""

    async def body() -> None:
        async with servers(url, 1, DatabaseOptions(connections=2, timeout_s=1.0)) as (one,):
            job = await one.job()
            held, other = await one.task(job), await one.task(job)
            (shard, *_) = shards_of(one)
            for session in one.store._workers._sessions:  # type: ignore[attr-defined]
                session._shard = shard
            with open_claim(url, one.org_id, held, shard, is_counted=False):
                await one.claim(other)  # at the same row, which is not written before the commit
            assert await one.counters(job) == (0, 2, 0)

    run_async(body)
