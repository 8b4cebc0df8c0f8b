"""Databases of every released schema are brought to the newest one, and nothing in them is lost."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from server.store.choice import store_for
from server.store.commands import CreateRun, RunFields, UpdateRun
from server.store.queries import RunQuery, TaskQuery
from server.store.store import Store
from tests.postgres.databases import empty_database
from tests.released.make import FOLDER, MACHINE, ORG, PARAMETERS

DUMPS = sorted(path.name for path in FOLDER.glob("*.sql"))
LIMIT_S = 30.0
# A run of them tells so much of its machine that it is kept beside the runs.
TELLS_MORE = ("sqlite-11.sql", "sqlite-12.sql")

COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name
FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"""
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
CONSTRAINTS = """
SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"""


@contextmanager
def restored(dump: str, folder: Path) -> Iterator[str]:
    """Give the URL of a database as a dump has it."""
    sql = (FOLDER / dump).read_text("utf-8")
    if dump.startswith("sqlite"):
        with sqlite3.connect(folder / "old.db") as db:
            db.executescript(sql)
        db.close()
        yield f"sqlite:///{folder / 'old.db'}"
        return
    with empty_database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.encode())
        yield url


async def opened(url: str) -> Store:
    """Open a store, which migrates."""
    store = store_for(url)
    await store.start(lambda _: None)
    return store


async def shown(store: Store) -> dict[str, Any]:
    """Return what must be in every one of these databases."""
    job = await store.job(ORG, "job-1")
    tasks = await store.tasks(TaskQuery(org_id=ORG))
    runs = await store.runs(RunQuery(org_id=ORG))
    assert job is not None
    return {
        "job": (job.title, bytes(job.parameters).decode(), job.status, job.task_count, job.task_progress),
        "tasks": {answer.task.id: (answer.task.run_status, answer.extra) for answer in tasks},
        "runs": {answer.run.id: (answer.run.result_code, answer.run.error) for answer in runs},
        "pending": [
            answer.task.id for answer in await store.tasks(TaskQuery(org_id=ORG, statuses=("pending",)))
        ],
        "token": await store.principal("5f" * 32) is not None,
    }


EXPECTED = {
    "job": ("ä", PARAMETERS, "running", 4, 0.25),
    "tasks": {
        "pending": ("pending", '{"image":"x"}'),
        "running": ("running", '{"image":"x"}'),
        "requeued": ("pending", '{"image":"x"}'),
        "stopped": ("stopped", '{"image":"x"}'),
    },
    "runs": {
        "run-running": (None, None),
        "run-requeued": ("Failed", "drained: bye"),
        "run-stopped": ("Success", None),
        "again": (None, None),
    },
    "pending": ["pending", "requeued"],
    "token": True,
}


@pytest.mark.parametrize("dump", DUMPS)
def test_an_old_database_is_brought_up_to_date_with_all_that_is_in_it(dump: str, tmp_path: Path) -> None:
    """What is shown is the same, and work goes on where it was."""

    async def body(url: str) -> None:
        async with asyncio.timeout(LIMIT_S):
            store = await opened(url)
            try:
                assert await shown(store) == EXPECTED
                requeued = await store.run(ORG, "run-requeued")
                assert requeued is not None
                told = MACHINE if dump in TELLS_MORE else '{"a": 1}'
                assert bytes(requeued.run.machine or b"").decode() == told
                end = RunFields(stopped_at=10, result_code="Success", results="{}", cpu_time=2)
                stopped = await store.apply(UpdateRun(org_id=ORG, id="run-running", agent="pod", fields=end))
                assert (stopped.run.cpu_time, msgspec.json.decode(stopped.run.machine or b"")) == (
                    2,
                    {"a": 1},
                )
                claim = RunFields(started_at=6, pod_id="other")
                for task_id in ("pending", "requeued"):
                    await store.apply(CreateRun(org_id=ORG, created_by="me", task_id=task_id, fields=claim))
                job = await store.job(ORG, "job-1")
                assert job is not None
                assert (job.task_status_running, job.task_result_successes) == (2, 2)
            finally:
                await store.close()

    with restored(dump, tmp_path) as url:
        asyncio.run(body(url))


@pytest.mark.parametrize("dump", DUMPS)
def test_an_old_schema_becomes_the_same_as_a_new_one(dump: str, tmp_path: Path) -> None:
    """A released file that was changed afterwards would leave old databases behind."""

    async def migrate(url: str) -> None:
        await (await opened(url)).close()

    with restored(dump, tmp_path) as old:
        asyncio.run(migrate(old))
        if dump.startswith("sqlite"):
            asyncio.run(migrate(f"sqlite:///{tmp_path / 'new.db'}"))
            assert sqlite_schema(tmp_path / "old.db") == sqlite_schema(tmp_path / "new.db")
            return
        with empty_database() as new:
            asyncio.run(migrate(new))
            assert postgres_schema(old) == postgres_schema(new)


def sqlite_schema(path: Path) -> list[tuple[str, str]]:
    """Return the statements of a database, without comments and spaces."""
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    db.close()
    assert len(rows) > 10
    return sorted((name, re.sub(r"--[^\n]*|\s+", "", sql)) for name, sql in rows)


def postgres_schema(url: str) -> list[list[tuple[Any, ...]]]:
    """Return columns, indexes and constraints."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = [connection.execute(sql.encode()).fetchall() for sql in (COLUMNS, INDEXES, CONSTRAINTS)]
    assert all(len(rows) > 10 for rows in found)
    return found
