"""A finished job is deleted while others want something of it: one comes first, and nothing is torn."""

from __future__ import annotations

import pytest

from server.store.commands import CreateRun, CreateTask, DeleteJob, RunFields, UpdateJob, UpdateTask
from server.store.records import Deletion, JobRecord, TaskRecord
from server.store.refusal import Refused, StoreBusy
from tests.postgres.held import SHORT, held
from tests.postgres.standing import ask
from tests.postgres.stores import Server, run_async, servers


async def done(server: Server, tasks: int = 3) -> tuple[JobRecord, list[TaskRecord]]:
    """Make a job whose tasks were all done."""
    job = await server.job()
    made = [await server.task(job) for _ in range(tasks)]
    for task in made:
        await server.put(await server.claim(task), stopped_at=9, result_code="Success")
    return job, made


async def deletion_of(server: Server, job: JobRecord, most: int = 1_000) -> DeleteJob:
    """Return what deletes a job as it is now."""
    (age,) = [one for one in await server.store.job_ages(None, 99) if one.id == job.id]
    return DeleteJob(org_id=server.org_id, id=job.id, changed_at=age.changed_at, age_ms=0, most=most)


def requeue(server: Server, task: TaskRecord) -> CreateRun:
    """Return the placeholder by which a person, or any client, wants a task to run again."""
    return CreateRun(
        org_id=server.org_id, created_by="me", task_id=task.id, id=f"again-{task.id}", fields=RunFields()
    )


def test_a_job_that_somebody_wants_to_run_again_is_kept(url: str) -> None:
    """Who chose it looks again behind the other's commit, and finds it has something to do."""

    async def body() -> None:
        async with servers(url, 1, SHORT) as (one,):
            job, tasks = await done(one)
            deletion = await deletion_of(one, job)
            with held(url, requeue(one, tasks[1])), pytest.raises(StoreBusy):
                await one.store.apply(deletion)
            assert await one.store.apply(deletion) is Deletion.KEPT
            assert await one.counters(job) == (1, 0, 2)
            assert ask(url, "SELECT count(*) FROM runs") == [(4,)]

    run_async(body)


def test_what_comes_for_a_job_that_is_being_deleted_is_refused_and_leaves_nothing(url: str) -> None:
    """It waits for the first part, and then the job is gone; no row of it is left behind by anybody."""

    async def body() -> None:
        async with servers(url, 1, SHORT) as (one,):
            job, tasks = await done(one)
            run = f"run-of-{tasks[-1].id}"
            late = [
                requeue(one, tasks[-1]),
                CreateTask(org_id=one.org_id, created_by="me", job_id=job.id),
                UpdateTask(org_id=one.org_id, id=tasks[-1].id, title="late"),
                UpdateJob(org_id=one.org_id, id=job.id, priority=3),
            ]
            deletion = await deletion_of(one, job, most=1)
            with held(url, deletion) as came:
                assert came is Deletion.PARTLY
                for command in late:
                    with pytest.raises(StoreBusy):
                        await one.store.apply(command)
                assert await one.counters(job) == (0, 0, 3)  # whole for who reads, until then
            for command in late:
                with pytest.raises(Refused):
                    await one.store.apply(command)
            assert await one.store.run(one.org_id, run) is None
            while await one.store.apply(deletion) is not Deletion.GONE:
                pass
            left = "SELECT count(*) FROM {} UNION ALL SELECT count(*) FROM {}"
            assert ask(url, left.format("runs", "tasks")) == [(0,), (0,)]
            assert ask(url, left.format("jobs", "job_counters")) == [(0,), (0,)]

    run_async(body)


def test_two_servers_that_delete_at_once_do_not_wait_for_each_other(url: str) -> None:
    """The second one leaves it to the first for now, also another job; requests for other jobs go on."""

    async def body() -> None:
        async with servers(url, 1, SHORT) as (one,):
            job, _ = await done(one)
            other, tasks = await done(one)
            deletion, second = await deletion_of(one, job, most=1), await deletion_of(one, other)
            async with servers(url, 1, SHORT) as (two,):
                with held(url, deletion):
                    assert await two.store.apply(second) is Deletion.ELSEWHERE
                    await two.store.apply(requeue(two, tasks[0]))
            assert await one.store.apply(second) is Deletion.KEPT

    run_async(body)
