"""What a change of a large job costs, and how long the claims of others take meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final

from msgspec import Struct, structs

from server.retention import Keeping, Retention
from server.store.commands import CreateRun, RunFields, UpdateJob
from server.store.refusal import Refused
from server.store.store import Store
from tests.bench.figure import Figure, percentile
from worker.clock import SystemClock

__all__ = ["Large", "measure_changes"]

CLAIMERS: Final = 4
STILL_S: Final = 3.0  # of claims with nothing beside them
LOOK_S: Final = 0.05

Did = Callable[[], Awaitable[object]]


class Large(Struct, frozen=True):
    """A job that is changed, and another one whose tasks are claimed meanwhile."""

    org_id: str
    job_id: str
    claims: str
    tasks: int  # of the first

    @property
    def note(self) -> str:
        """Return what stands beside figures of it."""
        return f"{self.tasks:,} tasks, {CLAIMERS} claimers beside it"


async def measure_changes(name: str, store: Store, large: Large) -> list[Figure]:
    """Pause, resume, reorder, cancel and delete a job, while the tasks of another one are claimed."""
    claims = Claims(store, large)

    def change(**fields: Any) -> Did:
        return lambda: store.apply(UpdateJob(org_id=large.org_id, id=large.job_id, **fields))

    async def delete() -> None:
        keeping = Retention(store, SystemClock(), Keeping(for_s=1e-3), lambda _job: None)
        (job,) = [one for one in await store.job_ages(None, 99) if one.id == large.job_id]
        await asyncio.sleep(LOOK_S)
        await keeping.delete(job, 1e-3)

    figures = await claims.beside(lambda: asyncio.sleep(STILL_S))
    shown = [_named(f"{name}, nothing else", figure) for figure in figures[2:]]
    steps: dict[str, Did] = {
        "a job paused": change(scheduler_state="paused"),
        "a job resumed": change(scheduler_state="active"),
        "a job reordered": change(priority=1),
        "a job cancelled": change(scheduler_state="cancelled"),
        "a job deleted": delete,
    }
    for what, do in steps.items():
        shown += [_named(f"{name}, {what}", figure) for figure in await claims.beside(do)]
    return shown


def _named(name: str, figure: Figure) -> Figure:
    return structs.replace(figure, name=f"{name}: {figure.name}")


class Claims:
    """Claims one task after another, while something is done beside it."""

    def __init__(self, store: Store, large: Large) -> None:
        """Claim in the order of the tasks."""
        self._store = store
        self._large = large
        self._numbers = count(1)
        self._times: list[float] = []
        self._is_over = False

    async def beside(self, do: Did) -> list[Figure]:
        """Return how long it took, and how claims went meanwhile."""
        self._times, self._is_over = [], False
        claiming = [asyncio.create_task(self._claim()) for _ in range(CLAIMERS)]
        begun = time.perf_counter()
        await do()
        answered_s = time.perf_counter() - begun
        while self._store._following._under_way:  # type: ignore[attr-defined]  # noqa: ASYNC110 - no event
            await asyncio.sleep(LOOK_S)
        all_s = time.perf_counter() - begun
        self._is_over = True
        await asyncio.gather(*claiming)
        note = self._large.note
        return [
            Figure(name="answered after", value=answered_s, unit="s", note=note),
            Figure(name="all tasks done after", value=all_s, unit="s", note=note),
            Figure(name="claims", value=len(self._times) / all_s, unit="1/s", note=note),
            *(self._claim_took(ratio) for ratio in (0.5, 0.99, 1.0)),
        ]

    def _claim_took(self, ratio: float) -> Figure:
        value = percentile(self._times, ratio)
        return Figure(name=f"a claim, p{ratio * 100:g}", value=value, unit="ms", note=self._large.note)

    async def _claim(self) -> None:
        while not self._is_over:
            task_id = f"{self._large.claims}-{next(self._numbers):09d}"
            fields = RunFields(started_at=5, pod_id="pod/bench")
            command = CreateRun(org_id=self._large.org_id, created_by="bench", task_id=task_id, fields=fields)
            begun = time.perf_counter()
            try:
                await self._store.apply(command)
            except Refused:  # none is left
                return
            self._times.append((time.perf_counter() - begun) * 1000)
