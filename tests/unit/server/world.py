"""A store with an organisation, and short ways to make jobs, tasks and runs in it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from server.store.changes import AnyPending, Change
from server.store.choice import DatabaseOptions, store_for
from server.store.commands import (
    CreateJob,
    CreateRun,
    CreateTask,
    EnsureOrganisation,
    RunFields,
    UpdateRun,
)
from server.store.postgres.store import PostgresStore
from server.store.records import JobRecord, RunRecord, TaskRecord
from server.store.sql.dialect import Row
from server.store.sqlite.store import SqliteStore
from tests.postgres.databases import database

__all__ = [
    "LIMIT_S",
    "FakeClock",
    "Kind",
    "World",
    "durable_database",
    "fresh_database",
    "opened",
    "run_async",
    "totals",
]

LIMIT_S = 20.0  # of anything that a test waits for; only a broken program takes so long


class FakeClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        """Begin on a day of the reference."""
        self.at = datetime(2020, 3, 18, 21, 29, 15, 899_000, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the time that was set."""
        return self.at

    def mono(self) -> float:
        """Return seconds since 1970."""
        return self.at.timestamp()

    def advance(self, seconds: float) -> None:
        """Move on."""
        self.at += timedelta(seconds=seconds)


class World:
    """A store, its clock, and what it told to listeners."""

    def __init__(self, url: str) -> None:
        """Prepare the store of a database."""
        self.clock = FakeClock()
        self.store = store_for(url, self.clock, options=DatabaseOptions(connections=2))
        self.org_id = ""
        self.changes: list[Change] = []

    def hear(self, changes: Sequence[Change]) -> None:
        """Keep what the store tells, but not that it began to listen to others."""
        self.changes += [change for change in changes if not isinstance(change, AnyPending)]

    async def ask(self, sql: str) -> Sequence[Row]:
        """Read the database by a statement."""
        if isinstance(self.store, PostgresStore):
            return await self.store._read(sql, [])
        assert isinstance(self.store, SqliteStore)
        return self.store._all(sql, [])

    async def job(self, **fields: Any) -> JobRecord:
        """Make a job."""
        fields = {"type": "noop", "created_by": "me", **fields}
        return await self.store.apply(CreateJob(org_id=self.org_id, **fields))

    async def task(self, job: JobRecord, **fields: Any) -> TaskRecord:
        """Make a task."""
        command = CreateTask(org_id=self.org_id, created_by="me", job_id=job.id, **fields)
        return (await self.store.apply(command)).task

    async def post(self, task: TaskRecord, run_id: str | None = None, **fields: Any) -> RunRecord:
        """Post a run: a placeholder unless `started_at` is given."""
        command = CreateRun(
            org_id=self.org_id, created_by="me", task_id=task.id, id=run_id, fields=RunFields(**fields)
        )
        return (await self.store.apply(command)).run

    async def claim(self, task: TaskRecord, run_id: str | None = None, **fields: Any) -> RunRecord:
        """Post a started run."""
        return await self.post(task, run_id, **{"started_at": 5, "pod_id": "pod", **fields})

    async def put(self, run: RunRecord, agent: str | None = None, **fields: Any) -> RunRecord:
        """Report on a run."""
        command = UpdateRun(org_id=self.org_id, id=run.id, agent=agent, fields=RunFields(**fields))
        return (await self.store.apply(command)).run

    async def status(self, task: TaskRecord) -> str:
        """Return a task's status as a reader sees it."""
        answer = await self.store.task(self.org_id, task.id)
        assert answer is not None
        return answer.task.run_status

    async def counters(self, job: JobRecord) -> tuple[int, ...]:
        """Return a job's pending, running, stopped, failures, successes as a reader sees them."""
        found = await self.store.job(self.org_id, job.id)
        assert found is not None
        return totals(found)


def totals(job: JobRecord) -> tuple[int, ...]:
    """Return pending, running, stopped, failures, successes."""
    return (
        job.task_status_pending,
        job.task_status_running,
        job.task_status_stopped,
        job.task_result_failures,
        job.task_result_successes,
    )


class Kind:
    """The kind of store that `opened` opens; set by the fixture `each_store`."""

    is_postgres = False
    examples = 0

    @classmethod
    def has_enough(cls) -> bool:
        """Tell whether drawn examples of a module are enough: on PostgreSQL each takes much longer."""
        cls.examples += 1
        return cls.is_postgres and cls.examples > 20


@contextmanager
def fresh_database() -> Iterator[str]:
    """Give the URL of an empty database of the kind that is tested."""
    if not Kind.is_postgres:
        yield "sqlite://"
        return
    with database() as url:
        yield url


@contextmanager
def durable_database(folder: Path) -> Iterator[str]:
    """Give the URL of an empty database of that kind which can be opened again."""
    if not Kind.is_postgres:
        yield f"sqlite:///{folder / 'jobs.db'}"
        return
    with database() as url:
        yield url


@asynccontextmanager
async def opened(db: str | None = None) -> AsyncIterator[World]:
    """Open a store with one organisation, in an empty database unless one is named, and close it."""
    with nullcontext(db) if db is not None else fresh_database() as url:
        world = World(url)
        await world.store.start(world.hear)
        try:
            world.org_id = await world.store.apply(EnsureOrganisation(name="ours"))
            yield world
        finally:
            await world.store.close()


def run_async(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run the body of a test on an event loop, with a time limit."""

    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await test()

    asyncio.run(limited())


def rows(path: str, sql: str) -> list[tuple[Any, ...]]:
    """Read a database file from outside."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()
