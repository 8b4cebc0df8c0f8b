"""Over tasks that wait: what a poll costs the store. All databases are there at once, asked in turn."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from server.store.choice import store_for
from server.store.queries import Page, TaskQuery
from server.store.store import Store
from tests.bench.curves.axes import Extent
from tests.bench.figure import Figure, Place, percentile
from tests.bench.stores import ORG, sqlite_database

__all__ = ["over_pending"]

ROUNDS: Final = {"short": 200, "usual": 2_000, "long": 2_000}
PANEL: Final = "a poll in ms, by tasks that wait"
SEED: Final = 20261129
BASE: Final = 1_000  # what the others are compared with
POLL: Final = TaskQuery(
    org_id=ORG, statuses=("pending",), types=("type-1", "type-4", "type-8"), page=Page(size=100)
)


def over_pending(folder: Path, points: Sequence[int], extent: Extent) -> list[Figure]:
    """Fill a database of SQLite for each number of tasks, and poll as an agent of three types does."""
    urls = {}
    for count in points:
        database = sqlite_database(folder / f"{count}.db")
        asyncio.run(opened(database.url))
        database.fill("fill", count)
        urls[count] = database.url
    took = asyncio.run(asked(urls, ROUNDS[extent]))
    note = "up to 100 of 3 types of 10, in turn with the others"
    figures = [
        Figure(
            name=f"poll among {count:,} tasks, p{ratio * 100:.0f}",
            value=percentile(times, ratio),
            unit="ms",
            note=note,
            place=Place(PANEL, f"p{ratio * 100:.0f}", count),
        )
        for count, times in took.items()
        for ratio in (0.5, 0.99)
    ]
    return figures + [
        Figure(
            name=f"poll among {count:,}, p{ratio * 100:.0f} to that among {BASE:,}",
            value=percentile(times, ratio) / percentile(took[BASE], ratio),
            unit="times",
        )
        for count, times in took.items()
        if count > BASE
        for ratio in (0.5, 0.99)
    ]


async def opened(url: str) -> None:
    """Make the tables."""
    store = store_for(url)
    await store.start(lambda _: None)
    await store.close()


async def asked(urls: dict[int, str], rounds: int) -> dict[int, list[float]]:
    """Return what polls of each took, in milliseconds: whatever else goes on meets all of them alike."""
    order, turns = list(urls), random.Random(SEED)
    took: dict[int, list[float]] = {count: [] for count in urls}
    async with AsyncExitStack() as stack:
        stores: dict[int, Store] = {}
        for count, url in urls.items():
            stores[count] = store_for(url)
            await stores[count].start(lambda _: None)
            stack.push_async_callback(stores[count].close)
            assert await stores[count].tasks(POLL)
        for _ in range(rounds):
            turns.shuffle(order)
            for count in order:
                begun = time.perf_counter()
                await stores[count].tasks(POLL)
                took[count].append((time.perf_counter() - begun) * 1e3)
    return took
