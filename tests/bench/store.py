"""What the stores do in a second, and what a list costs among many tasks; without HTTP."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import psycopg

from server.store.choice import DatabaseOptions, store_for
from server.store.commands import CreateJob, CreateRun, CreateTask, EnsureOrganisation, RunFields, UpdateRun
from server.store.queries import Page, TaskQuery
from server.store.store import Store
from tests.bench.figure import Figure, percentile
from tests.postgres.cluster import Cluster, find_programs

__all__ = ["measure_store"]

CALLERS: Final = 32  # who ask at the same time, as agents do
ORG: Final = "bench"
TYPE: Final = "bench-noop"
LISTS: Final = 200  # of each kind
POSTGRES: Final = DatabaseOptions(connections=8)

# Pending tasks in a job of their own, as many as there are numbers; the rest of the tables is left alone.
FILL: Final = """
INSERT INTO tasks (org_id, id, job_id, created_by, type, priority, parameters, report_progress, created_at,
                   updated_at, run_status, job_is_active)
SELECT 'bench', 'fill-' || n, 'fill', 'bench', 'type-' || (n % 10), n % 3, '{{}}', TRUE, n, n, 'pending', TRUE
FROM {numbers}"""
SERIES: Final = (
    "(WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s)"
)
COUNT: Final = "INSERT INTO job_counters VALUES ('bench', 'fill', 0, {count}, 0, 0, 0, 0, 0, 1)"

Fill = Callable[[int], None]


def measure_store(_folder: Path, is_quick: bool) -> list[Figure]:
    """Measure each store that can be had here; `_folder` is on a disk."""
    tasks, pending = (320, (1_000, 10_000)) if is_quick else (3_200, (10_000, 1_000_000))
    figures: list[Figure] = []
    with sqlite(_folder) as (url, fill):
        figures += asyncio.run(_measure("SQLite", url, fill, tasks, pending))
    if find_programs() is None:
        return [*figures, Figure(name="PostgreSQL", value=None, unit="", note="is not installed here")]
    with postgres() as (url, fill):
        figures += asyncio.run(_measure("PostgreSQL", url, fill, tasks, pending))
    return figures


@contextmanager
def sqlite(folder: Path) -> Iterator[tuple[str, Fill]]:
    """Give the URL of a new file, and what puts pending tasks into it."""
    path = folder / "store.db"

    def fill(count: int) -> None:
        numbers = SERIES.format(count=count)
        with closing(sqlite3.connect(path)) as db:
            db.execute(FILL.format(numbers=numbers))
            db.execute(COUNT.format(count=count))
            db.commit()

    yield f"sqlite:///{path}", fill


@contextmanager
def postgres() -> Iterator[tuple[str, Fill]]:
    """Give the URL of a new database of a durable server, and what puts pending tasks into it."""
    server = Cluster(configuration="shared_buffers = 512MB\n")
    try:
        server.start()
        url = server.url(server.new_database())

        def fill(count: int) -> None:
            with psycopg.connect(url, autocommit=True) as db:
                db.execute(FILL.format(numbers=f"generate_series(1, {count}) n").encode())
                db.execute(COUNT.format(count=count).encode())
                db.execute("ANALYZE")

        yield url, fill
    finally:
        server.remove()


async def _measure(name: str, url: str, fill: Fill, tasks: int, pending: Sequence[int]) -> list[Figure]:
    figures = await _opened(url, lambda store: _life(name, store, tasks))
    for count in pending:
        sys.stderr.write(f"bench: {name} with {count:,} pending tasks …\n")
        await _opened(url, _empty)
        await asyncio.to_thread(_refill, url, fill, count)
        figures += await _opened(url, lambda store, count=count: _lists(name, store, count))  # type: ignore[misc]
    return figures


async def _opened(url: str, work: Callable[[Store], Awaitable[list[Figure]]]) -> list[Figure]:
    store = store_for(url, options=POSTGRES)
    await store.start(lambda _: None)
    try:
        return await work(store)
    finally:
        await store.close()


async def _empty(store: Store) -> list[Figure]:
    if await store.job(ORG, "fill") is None:
        await store.apply(CreateJob(org_id=ORG, created_by="bench", id="fill", type=TYPE))
    return []


def _refill(url: str, fill: Fill, count: int) -> None:
    statements = ("DELETE FROM job_counters WHERE job_id = 'fill'", "DELETE FROM tasks WHERE job_id = 'fill'")
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db:
            for statement in statements:
                db.execute(statement)
            db.commit()
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())
    fill(count)


async def _life(name: str, store: Store, tasks: int) -> list[Figure]:
    """Create, claim, report and stop tasks of one job."""
    await store.apply(EnsureOrganisation(id=ORG, name=ORG))
    job = await store.apply(CreateJob(org_id=ORG, created_by="bench", type=TYPE))
    ids = [f"task-{number}" for number in range(tasks)]
    claim = RunFields(started_at=5, pod_id="pod/bench")
    report = RunFields(started_at=5, progress=500_000, cpu_time=1.5)
    end = RunFields(started_at=5, stopped_at=9, result_code="Success", results='{"a": 1}')
    steps: dict[str, Callable[[str], Awaitable[object]]] = {
        "new tasks": lambda id_: store.apply(
            CreateTask(org_id=ORG, created_by="bench", job_id=job.id, id=id_)
        ),
        "claims": lambda id_: store.apply(
            CreateRun(org_id=ORG, created_by="bench", task_id=id_, id=f"run-{id_}", fields=claim)
        ),
        "reports": lambda id_: store.apply(UpdateRun(org_id=ORG, id=f"run-{id_}", fields=report)),
        "last reports": lambda id_: store.apply(UpdateRun(org_id=ORG, id=f"run-{id_}", fields=end)),
    }
    note = f"one job, {CALLERS} callers at once, durable"
    return [
        Figure(name=f"{name}, {what}", value=tasks / await _seconds(ids, do), unit="1/s", note=note)
        for what, do in steps.items()
    ]


async def _seconds(ids: list[str], do: Callable[[str], Awaitable[object]]) -> float:
    left = iter(ids)

    async def call() -> None:
        for id_ in left:
            await do(id_)

    start = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(CALLERS)))
    return time.perf_counter() - start


async def _lists(name: str, store: Store, count: int) -> list[Figure]:
    """Read the first page, as an agent polls; with and without types of its own."""
    pages = Page(size=100)
    queries = {
        "any type": TaskQuery(org_id=ORG, statuses=("pending",), page=pages),
        "3 types of 10": TaskQuery(
            org_id=ORG, statuses=("pending",), types=("type-1", "type-4", "type-8"), page=pages
        ),
    }
    figures = []
    for what, query in queries.items():
        assert len(await store.tasks(query)) == pages.size
        times = [await _milliseconds(lambda query=query: store.tasks(query)) for _ in range(LISTS)]  # type: ignore[misc]
        figures += [
            Figure(
                name=f"{name}, list of pending tasks, p{ratio * 100:.0f}",
                value=percentile(times, ratio),
                unit="ms",
                note=f"100 of {count:,}, {what}",
            )
            for ratio in (0.5, 0.99)
        ]
    times = [await _milliseconds(lambda: store.job(ORG, "fill")) for _ in range(LISTS)]
    note = f"with {count:,} tasks"
    return [
        *figures,
        Figure(
            name=f"{name}, job with its counters, p50", value=percentile(times, 0.5), unit="ms", note=note
        ),
    ]


async def _milliseconds(do: Callable[[], Awaitable[object]]) -> float:
    start = time.perf_counter()
    await do()
    return (time.perf_counter() - start) * 1000
