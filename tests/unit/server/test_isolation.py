"""Organisations on one store: whatever one does, under whichever ids, the other sees nothing of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.store.commands import (
    CreateJob,
    CreateRun,
    CreateTask,
    EnsureOrganisation,
    RunFields,
    UpdateJob,
    UpdateRun,
    UpdateTask,
)
from server.store.queries import JobQuery, ReportQuery, RunQuery, TaskQuery
from server.store.refusal import Refused
from server.store.store import Store
from tests.unit.server.world import LIMIT_S, Kind, opened

pytestmark = pytest.mark.usefixtures("each_store")

IDS = st.sampled_from(["a", "b"])  # of jobs, tasks and runs alike, in both organisations
FIELDS = st.sampled_from(
    [
        RunFields(),
        RunFields(started_at=5, pod_id="p"),
        RunFields(stopped_at=9, result_code="Success", results="{}"),
        RunFields(progress=500_000, cpu_time=1.5),
    ]
)
STATES = st.sampled_from(["active", "paused", "cancelled"])

command = st.one_of(
    st.builds(lambda id_: (CreateJob, {"created_by": "x", "id": id_, "type": "t"}), IDS),
    st.builds(lambda id_, job: (CreateTask, {"created_by": "x", "id": id_, "job_id": job}), IDS, IDS),
    st.builds(
        lambda id_, task, fields: (
            CreateRun,
            {"created_by": "x", "id": id_, "task_id": task, "fields": fields},
        ),
        IDS,
        IDS,
        FIELDS,
    ),
    st.builds(
        lambda id_, state: (UpdateJob, {"id": id_, "scheduler_state": state, "priority": 3}), IDS, STATES
    ),
    st.builds(lambda id_: (UpdateTask, {"id": id_, "title": "t", "extra": {"x": "1"}}), IDS),
    st.builds(lambda id_, fields: (UpdateRun, {"id": id_, "fields": fields}), IDS, FIELDS),
)


async def view(store: Store, org_id: str) -> list[Any]:
    """Return all that an organisation can see."""
    return [
        await store.jobs(JobQuery(org_id=org_id)),
        await store.tasks(TaskQuery(org_id=org_id)),
        await store.tasks(TaskQuery(org_id=org_id, statuses=("pending",), types=("t", "u"))),
        await store.tasks(TaskQuery(org_id=org_id, job_ids=("a", "b"), statuses=("running", "stopped"))),
        await store.runs(RunQuery(org_id=org_id)),
        await store.runs(RunQuery(org_id=org_id, task_ids=("a",))),
        await store.reports(ReportQuery(org_id=org_id)),
        *[await read(org_id, id_) for read in (store.job, store.task, store.run) for id_ in ("a", "b")],
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), command), max_size=30))
def test_what_one_organisation_does_changes_nothing_for_the_other(
    steps: list[tuple[bool, tuple[Any, dict[str, Any]]]],
) -> None:
    """After each command of one, the other's lists and objects are as they were, to the last field."""

    async def body() -> None:
        async with asyncio.timeout(LIMIT_S), opened() as world:
            other_id = await world.store.apply(EnsureOrganisation(name="theirs"))
            for is_other, (kind, fields) in steps:
                acting, watching = (other_id, world.org_id) if is_other else (world.org_id, other_id)
                before = await view(world.store, watching)
                world.clock.advance(1)
                with contextlib.suppress(Refused):
                    await world.store.apply(kind(org_id=acting, **fields))
                assert await view(world.store, watching) == before

    if not Kind.has_enough():
        asyncio.run(body())
