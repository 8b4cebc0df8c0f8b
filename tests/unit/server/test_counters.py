"""Counters of a job: right after every write, whatever happened before."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.store.commands import UpdateJob
from server.store.queries import RunQuery, TaskQuery
from server.store.records import JobRecord
from server.store.refusal import Refused
from tests.unit.server.world import LIMIT_S, Kind, World, opened, totals

pytestmark = pytest.mark.usefixtures("each_store")

TASKS = 3
STATES = ("active", "paused", "cancelled")

step = st.one_of(
    st.tuples(st.just("task")),
    st.tuples(st.just("claim"), st.integers(0, 5)),
    st.tuples(st.just("placeholder"), st.integers(0, 5)),
    st.tuples(st.just("stopped run"), st.integers(0, 5)),
    st.tuples(st.just("progress"), st.integers(0, 9), st.integers(0, 1_000_000)),
    st.tuples(st.just("start"), st.integers(0, 9)),
    st.tuples(st.just("stop"), st.integers(0, 9), st.sampled_from(["Success", "Failed", "Odd", None])),
    st.tuples(st.just("state"), st.sampled_from(STATES)),
)


async def take(world: World, job: JobRecord, action: tuple[Any, ...]) -> None:
    """Try one step; the rules may refuse it."""
    name, *rest = action
    number = rest[0] if rest and isinstance(rest[0], int) else 0
    tasks = [answer.task for answer in await world.store.tasks(TaskQuery(org_id=world.org_id))]
    runs = [answer.run for answer in await world.store.runs(RunQuery(org_id=world.org_id))]
    task = tasks[number % len(tasks)]
    run = runs[number % len(runs)] if runs else None
    if name == "task":
        await world.task(job)
    elif name == "claim":
        await world.claim(task)
    elif name == "placeholder":
        await world.post(task)
    elif name == "stopped run":
        await world.post(task, started_at=1, stopped_at=2, result_code="Success")
    elif name == "state":
        await world.store.apply(UpdateJob(org_id=world.org_id, id=job.id, scheduler_state=rest[0]))
    elif run is not None and name == "progress":
        await world.put(run, progress=rest[1])
    elif run is not None and name == "start":
        await world.put(run, started_at=5)
    elif run is not None and name == "stop":
        result = {} if rest[1] is None else {"result_code": rest[1]}
        await world.put(run, stopped_at=9, **result)


async def check(world: World, job: JobRecord) -> None:
    """Compare what the job and its tasks show with a recount of the runs."""
    found = await world.store.job(world.org_id, job.id)
    assert found is not None
    counts = [0] * 5
    progress = 0.0
    for answer in await world.store.tasks(TaskQuery(org_id=world.org_id)):
        task = answer.task
        runs = [a.run for a in await world.store.runs(RunQuery(org_id=world.org_id, task_ids=(task.id,)))]
        live = [run for run in runs if run.started_at and not run.stopped_at]
        assert len(live) <= 1
        shown = live[0] if live else max(runs, key=lambda run: run.created_at, default=None)
        status = "pending"
        if shown is not None and (shown.started_at or shown.stopped_at):
            status = "stopped" if shown.stopped_at else "running"
        assert task.run_status == status
        assert task.run_result == (shown.result_code if shown else None)
        assert task.run_progress == (shown.progress if shown else None)
        counts[["pending", "running", "stopped"].index(status)] += 1
        if status == "stopped":
            counts[4 if task.run_result == "Success" else 3] += 1
        progress += 1 if status == "stopped" else (task.run_progress or 0) if status == "running" else 0
    assert totals(found) == tuple(counts)
    assert abs(found.task_progress - progress / sum(counts[:3])) < 1e-9
    expected = "pending" if not counts[1] + counts[2] else "running" if counts[0] + counts[1] else "stopped"
    assert found.status == expected
    if found.scheduler_state == "cancelled":
        assert counts[0] == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(step, max_size=25))
def test_counters_equal_a_recount_after_any_sequence_of_commands(actions: list[tuple[Any, ...]]) -> None:
    """A job's numbers, its status and what its tasks show are right after each command."""

    async def body() -> None:
        async with asyncio.timeout(LIMIT_S), opened() as world:
            job = await world.job()
            for _ in range(TASKS):
                await world.task(job)
            for action in actions:
                with contextlib.suppress(Refused):
                    await take(world, job, action)
                await check(world, job)

    if not Kind.has_enough():
        asyncio.run(body())
