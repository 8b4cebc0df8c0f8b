"""Runs that have a lease: claimed, reported on, silent."""

from __future__ import annotations

from typing import Any

from server.store.commands import CreateRun, ReapRuns, RunFields, UpdateRun
from server.store.records import RunAnswer, RunRecord, TaskRecord
from tests.unit.server.world import World

__all__ = ["CLAIM", "LEASE_MS", "SUCCESS", "claim", "reap", "report", "stored"]


LEASE_MS = 90_000


CLAIM: dict[str, Any] = {"started_at": 5, "pod_id": "pod/agent"}


SUCCESS: dict[str, Any] = {"started_at": 5, "stopped_at": 9, "result_code": "Success", "results": '{"a":1}'}


async def claim(world: World, task: TaskRecord) -> RunRecord:
    """Claim a task as an agent that knows leases."""
    command = CreateRun(
        org_id=world.org_id, created_by="me", task_id=task.id, lease_ms=LEASE_MS, fields=RunFields(**CLAIM)
    )
    answer = await world.store.apply(command)
    assert answer.is_leased
    return answer.run


async def report(world: World, run: RunRecord, agent: str = "pod/agent", **fields: Any) -> RunAnswer:
    """Report as that agent."""
    command = UpdateRun(
        org_id=world.org_id, id=run.id, agent=agent, lease_ms=LEASE_MS, fields=RunFields(**fields)
    )
    return await world.store.apply(command)


async def reap(world: World) -> int:
    """Look for silent runs once."""
    return await world.store.apply(ReapRuns(lease_ms=LEASE_MS, most=100))


async def stored(world: World, run_id: str) -> RunRecord | None:
    """Return a run as a reader sees it."""
    answer = await world.store.run(world.org_id, run_id)
    return None if answer is None else answer.run
