"""Tasks of one job are claimed beside each other: no row of the job is one that all of them wait for.

A claim is held open by the test on a connection of its own.
"""

from __future__ import annotations

import pytest

from server.store.commands import CreateRun, RunFields
from server.store.postgres.counters import SHARDS
from server.store.postgres.store import PostgresStore
from server.store.records import TaskRecord
from server.store.refusal import StoreBusy
from tests.postgres.held import SHORT, held
from tests.postgres.stores import Server, run_async, servers


def claim_of(server: Server, task: TaskRecord) -> CreateRun:
    """Return the claim of another agent."""
    return CreateRun(
        org_id=server.org_id,
        created_by="other",
        task_id=task.id,
        id=f"run-of-{task.id}",
        fields=RunFields(started_at=5, pod_id="other"),
    )


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
            theirs, *tasks = [await both[0].task(job) for _ in range(5)]
            shard = min(set(range(SHARDS)) - shards_of(both[0]) - shards_of(both[1]))
            with held(url, claim_of(both[0], theirs), shard, is_counted=is_counted):
                for number, task in enumerate(tasks):
                    server = both[number % 2]
                    run = await server.claim(task)
                    await server.put(run, progress=500_000)
                    if number < 2:
                        await server.put(run, stopped_at=9, result_code="Success")
                await both[0].task(job)
                with pytest.raises(StoreBusy):
                    await both[1].claim(theirs)
                assert await both[0].counters(job) == (2, 2, 2)  # the held one is pending for all others
            for server in both:
                assert await server.counters(job) == (1, 3, 2)

    run_async(body)


def test_a_row_of_counters_is_held_for_a_commit_only(url: str) -> None:
    """Who counts in the row of another claim does not wait for what goes before its commit."""

    async def body() -> None:
        async with servers(url, 1, SHORT) as (one,):
            job = await one.job()
            theirs, other = await one.task(job), await one.task(job)
            (shard, *_) = shards_of(one)
            for session in one.store._workers._sessions:  # type: ignore[attr-defined]
                session._shard = shard
            with held(url, claim_of(one, theirs), shard):
                await one.claim(other)  # at the same row, which is not written before the commit
            assert await one.counters(job) == (0, 2, 0)

    run_async(body)
