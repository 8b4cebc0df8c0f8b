"""Several stores on one database, in one process: what servers do to each other, step by step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from server.pending.desk import Desk
from server.store.choice import DatabaseOptions, store_for
from server.store.commands import CreateJob, CreateRun, CreateTask, EnsureOrganisation, RunFields, UpdateRun
from server.store.records import JobRecord, RunRecord, TaskRecord
from server.store.store import Store

__all__ = ["LIMIT_S", "Server", "run_async", "servers"]

LIMIT_S = 120.0  # a bound for a hang, not a measure


class Server:
    """A store with a desk, as a server has them."""

    def __init__(self, store: Store, org_id: str, desk: Desk) -> None:
        """Use an open store."""
        self.store = store
        self.org_id = org_id
        self.desk = desk

    async def job(self, **fields: Any) -> JobRecord:
        """Make a job."""
        return await self.store.apply(CreateJob(org_id=self.org_id, created_by="me", type="noop", **fields))

    async def task(self, job: JobRecord, **fields: Any) -> TaskRecord:
        """Make a task."""
        command = CreateTask(org_id=self.org_id, created_by="me", job_id=job.id, **fields)
        return (await self.store.apply(command)).task

    async def claim(self, task: TaskRecord, pod_id: str = "pod", **fields: Any) -> RunRecord:
        """Claim a task, with the id that every agent computes."""
        command = CreateRun(
            org_id=self.org_id,
            created_by="me",
            task_id=task.id,
            id=f"run-of-{task.id}",
            fields=RunFields(started_at=5, pod_id=pod_id),
            **fields,
        )
        return (await self.store.apply(command)).run

    async def put(self, run: RunRecord, **fields: Any) -> RunRecord:
        """Report on a run."""
        command = UpdateRun(org_id=self.org_id, id=run.id, agent=run.pod_id, fields=RunFields(**fields))
        return (await self.store.apply(command)).run

    async def counters(self, job: JobRecord) -> tuple[int, int, int]:
        """Return how many tasks are pending, running, stopped."""
        found = await self.store.job(self.org_id, job.id)
        assert found is not None
        return found.task_status_pending, found.task_status_running, found.task_status_stopped


@asynccontextmanager
async def servers(
    url: str, count: int, options: DatabaseOptions | None = None
) -> AsyncIterator[list[Server]]:
    """Open so many on one database."""
    options = options or DatabaseOptions(connections=4)
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            store = store_for(url, options=options)
            desk = Desk(store)
            await store.start(desk.on_changes)
            stack.push_async_callback(store.close)
            stack.callback(desk.close)
            made.append(Server(store, await store.apply(EnsureOrganisation(name="ours")), desk))
        yield made


def run_async(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run the body of a test on an event loop, with a time limit."""

    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await test()

    asyncio.run(limited())
