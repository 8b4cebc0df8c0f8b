"""Writes whose answers tell little: they write what they would write otherwise, and refuse as they would."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from server.store.commands import Briefly, CreateRun, ReapRuns, RunFields, UpdateRun
from server.store.records import BriefAnswer, RunAnswer
from server.store.refusal import Refused
from tests.unit.server.world import World, opened, run_async

pytestmark = pytest.mark.usefixtures("each_store")

LEASE_MS = 90_000
FACTS: dict[str, Any] = {"node_cpus": 2, "zone": "here", "machine": '{"os": "' + "x" * 200 + '"}'}
USAGE: dict[str, Any] = {"cpu_time": 1.5, "ram_usage": 10, "gpu_time": 0, "wall_clock_time": 2.5}
CLAIM: dict[str, Any] = {"started_at": 5, "pod_id": "pod", "progress": 0, **FACTS}
REPORT: dict[str, Any] = {"started_at": 5, "progress": 500_000, **FACTS, **USAGE}
END: dict[str, Any] = {
    "started_at": 5,
    "stopped_at": 9,
    "result_code": "Success",
    "results": '{"n": 1}',
    **USAGE,
}
FAILURE: dict[str, Any] = {"stopped_at": 9, "result_code": "Failed", "error": "handler: no", "progress": 7}


async def written(world: World, write: CreateRun | UpdateRun, *, is_brief: bool) -> tuple[object, ...]:
    """Do a write; return what both kinds of answers tell of it, or how it was refused."""
    try:
        answer: RunAnswer | BriefAnswer = await world.store.apply(Briefly(write) if is_brief else write)
    except Refused as refused:
        return (refused.code,)
    run = answer.run
    return (run.started_at, run.stopped_at, run.pod_id, answer.scheduler_state, answer.is_leased)


async def life(world: World, run_id: str, writes: list[dict[str, Any]], *, is_brief: bool) -> list[object]:
    """Claim a task by the first of the writes, report the others; return the answers and what is stored."""
    task = await world.task(await world.job())
    claim = CreateRun(
        org_id=world.org_id,
        created_by="me",
        task_id=task.id,
        id=run_id,
        lease_ms=LEASE_MS,
        fields=RunFields(**writes[0]),
    )
    told: list[object] = [await written(world, claim, is_brief=is_brief) for _ in range(2)]
    for fields in writes[1:]:
        if fields.get("silent"):
            world.clock.advance(LEASE_MS)
            world.clock.advance(1)
            await world.store.apply(ReapRuns(lease_ms=LEASE_MS, most=10))
            continue
        report = UpdateRun(
            org_id=world.org_id, id=run_id, agent="pod", lease_ms=LEASE_MS, fields=RunFields(**fields)
        )
        told.append(await written(world, report, is_brief=is_brief))
    answer = await world.store.run(world.org_id, run_id)
    assert answer is not None
    same = dict.fromkeys(("id", "task_id", "job_id", "created_at", "updated_at"), "")
    samples = [structs.replace(one, at="") for one in await world.store.samples(world.org_id, run_id)]
    shown = await world.store.task(world.org_id, task.id)
    assert shown is not None
    state = (shown.task.run_status, shown.task.run_result, shown.task.run_progress)
    return [*told, structs.replace(answer.run, **same), samples, state]


@pytest.mark.parametrize(
    "writes",
    [
        [CLAIM, REPORT, REPORT, END, END, {"stopped_at": 8}],
        [CLAIM, END | {"pod_id": "another"}, FAILURE, FAILURE, END],
        [CLAIM, REPORT, {"silent": True}, END, END],
        [CLAIM, {"machine": "{}", "results": '{"m": 2}'}, FAILURE | {"results": '{"m": 3}'}],
        [{}, CLAIM, END],
        [FAILURE | {"started_at": 5, "results": "[1]"}, END],
    ],
    ids=["to its end", "not its own", "late", "other results", "a placeholder", "stopped at once"],
)
def test_a_write_that_is_answered_briefly_leaves_what_it_would_leave_otherwise(
    writes: list[dict[str, Any]],
) -> None:
    """The run, its samples and its task are the same, and so is what both kinds of answers tell."""

    async def body() -> None:
        async with opened() as world:
            whole = await life(world, "whole", writes, is_brief=False)
            assert await life(world, "brief", writes, is_brief=True) == whole

    run_async(body)
