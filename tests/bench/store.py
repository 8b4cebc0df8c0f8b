"""What the stores do in a second, and what lists and changes cost among many tasks; without HTTP."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from msgspec import Struct, structs

from server.paging import paged
from server.store.choice import DatabaseOptions, store_for
from server.store.commands import CreateJob, CreateRun, CreateTask, EnsureOrganisation, RunFields, UpdateRun
from server.store.queries import Page, TaskQuery
from server.store.store import Store
from tests.bench.figure import Figure, percentile
from tests.bench.large import Large, measure_changes
from tests.bench.stores import ORG, Database, databases
from worker.clock import SystemClock

__all__ = ["FULL", "KINDS", "QUICK", "Sizes", "measure_store"]

CALLERS: Final = 32  # who ask at the same time, as agents do
TYPE: Final = "bench-noop"
LISTS: Final = 200  # of each kind
FAR_LISTS: Final = 20
POSTGRES: Final = DatabaseOptions(connections=8)
KINDS: Final = ("SQLite", "PostgreSQL")


class Sizes(Struct, frozen=True, kw_only=True):
    """How much is measured."""

    life: int = 3_200  # tasks that are created, claimed, reported on and stopped
    pending: tuple[int, ...] = (10_000, 1_000_000)  # of one job, one size after another
    done: int = 0  # tasks beside the last of these
    kinds: tuple[str, ...] = KINDS


FULL: Final = Sizes()
QUICK: Final = Sizes(life=320, pending=(1_000, 10_000))


def measure_store(folder: Path, sizes: Sizes) -> list[Figure]:
    """Measure each store that can be had here; `folder` is on a disk."""
    figures: list[Figure] = []
    for kind in sizes.kinds:
        with databases(folder, kind) as database:
            if database is None:
                figures.append(Figure(name=kind, value=None, unit="", note="is not installed here"))
            else:
                figures += asyncio.run(_measure(database, sizes))
    return figures


async def _measure(database: Database, sizes: Sizes) -> list[Figure]:
    name = database.name
    figures = await _opened(database.url, lambda store: _life(name, store, sizes.life))
    for count in sizes.pending:
        is_last = count == sizes.pending[-1]
        total = count + (sizes.done if is_last else 0)
        sys.stderr.write(f"bench: {name} with {count:,} pending of {total:,} tasks …\n")
        if is_last and sizes.done:
            await asyncio.to_thread(database.fill, "done", sizes.done, is_done=True)
        await asyncio.to_thread(database.fill, "fill", count)
        of = f"{count:,}" + (f" pending of {total:,}" if total > count else "")
        figures += await _opened(database.url, lambda store, c=count, of=of: _lists(name, store, c, of))  # type: ignore[misc]
    sys.stderr.write(f"bench: {name}, changes of the job …\n")
    await asyncio.to_thread(database.fill, "claims", 600_000 if sizes.pending[-1] >= 1_000_000 else 20_000)
    large = Large(ORG, "fill", "claims", sizes.pending[-1])
    return figures + await _opened(database.url, lambda store: measure_changes(name, store, large))


async def _opened(url: str, work: Callable[[Store], Awaitable[list[Figure]]]) -> list[Figure]:
    store = store_for(url, options=POSTGRES)
    await store.start(lambda _: None)
    try:
        return await work(store)
    finally:
        await store.close()


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


async def _lists(name: str, store: Store, count: int, of: str) -> list[Figure]:
    """Read the first page, as an agent polls, with and without types of its own; then pages far down."""
    pages = Page(size=100)
    any_type = TaskQuery(org_id=ORG, statuses=("pending",), page=pages)
    some = structs.replace(any_type, types=("type-1", "type-4", "type-8"))
    figures = []
    for what, query in {"any type": any_type, "3 types of 10": some}.items():
        assert len(await store.tasks(query)) == pages.size
        times = [await _milliseconds(lambda query=query: store.tasks(query)) for _ in range(LISTS)]  # type: ignore[misc]
        figures += [
            Figure(
                name=f"{name}, list of pending tasks, p{ratio * 100:.0f}",
                value=percentile(times, ratio),
                unit="ms",
                note=f"100 of {of}, {what}",
            )
            for ratio in (0.5, 0.99)
        ]
    of_job = TaskQuery(org_id=ORG, job_ids=("fill",), page=pages)
    for what, query in {"pending tasks": any_type, "tasks of a job": of_job}.items():
        figures += await _far(f"{name}, {what}", store, query, count)
    times = [await _milliseconds(lambda: store.job(ORG, "fill")) for _ in range(LISTS)]
    note = f"with {count:,} tasks"
    return [
        *figures,
        Figure(
            name=f"{name}, job with its counters, p50", value=percentile(times, 0.5), unit="ms", note=note
        ),
    ]


async def _far(name: str, store: Store, query: TaskQuery, count: int) -> list[Figure]:
    """Read pages at nine tenths of a list: one that is jumped to, and those that follow it."""
    known = paged(store, SystemClock())
    number = count // query.page.size * 9 // 10

    def page(at: int) -> TaskQuery:
        return structs.replace(query, page=structs.replace(query.page, number=at))

    jump = await _milliseconds(lambda: known.tasks(page(number)))
    walk = [
        await _milliseconds(lambda at=at: known.tasks(page(at)))  # type: ignore[misc]
        for at in range(number + 1, number + 1 + min(FAR_LISTS, max(1, count // query.page.size // 10)))
    ]
    return [
        Figure(name=f"{name}, a page far down", value=jump, unit="ms", note=f"page {number:,}, jumped to"),
        Figure(
            name=f"{name}, a page far down, p50",
            value=percentile(walk, 0.5),
            unit="ms",
            note=f"those after page {number:,}, walked to",
        ),
    ]


async def _milliseconds(do: Callable[[], Awaitable[object]]) -> float:
    start = time.perf_counter()
    await do()
    return (time.perf_counter() - start) * 1000
