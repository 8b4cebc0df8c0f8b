"""Delete finished jobs that are older, or more, than shall be kept; off unless it is asked for."""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

import structlog
from msgspec import Struct

from server.reaper import Patience
from server.store.commands import DeleteJob
from server.store.records import Deletion, JobAge
from server.store.refusal import StoreBusy, StoreFailed
from server.store.store import Store
from server.times import to_ms
from worker.clock import Clock

__all__ = ["Choice", "Keeping", "Retention"]

LOOKS_PER_TIME: Final = 10
SOONEST_LOOK_S: Final = 0.05
LATEST_LOOK_S: Final = 600.0
# Before that no job is too many: who waits for its end must find it.
GRACE_S: Final = 3_600.0
# Agents try for a week to deliver what they finished while nobody heard of them; then a person may.
RESULTS_AWAITED_S: Final = 30 * 86_400.0
JOBS_AT_ONCE: Final = 1_000  # of one read
ROWS_AT_ONCE: Final = 1_000  # in one transaction, some ten milliseconds
PAUSE_S: Final = 0.01  # after each, so that others come first

log = structlog.get_logger(__name__)


class Keeping(Struct, frozen=True):
    """What is kept of finished jobs; None: everything."""

    for_s: float | None = None  # since a job's last change
    jobs: int | None = None  # the newest of each organisation

    @property
    def is_everything(self) -> bool:
        """Tell whether nothing is ever deleted."""
        return self.for_s is None and self.jobs is None

    @property
    def least_s(self) -> float:
        """Return how long every job is kept."""
        return GRACE_S if self.for_s is None else min(GRACE_S, self.for_s)


class Choice:
    """Which finished jobs go, of all that are shown to it in a look."""

    def __init__(self, keeping: Keeping, now_ms: int) -> None:
        """Choose by the time of the look."""
        self._keeping = keeping
        self._now_ms = now_ms
        self._newest: defaultdict[str, list[tuple[int, str, JobAge]]] = defaultdict(list)

    def goes(self, job: JobAge) -> Iterator[tuple[JobAge, float]]:
        """Give the jobs of which it is sure now that they go, and how many seconds old they must be for it.

        That is this one, or one that it takes the place of.
        """
        for_s = self._keeping.for_s
        if job.is_going:
            yield job, 0.0
        elif not job.is_finished:
            return
        elif for_s is not None and job.changed_at < self._now_ms - for_s * 1000:
            yield job, for_s
        elif self._keeping.jobs is not None:
            yield from self._too_many(job, self._keeping.jobs)

    def _too_many(self, job: JobAge, most: int) -> Iterator[tuple[JobAge, float]]:
        newest = self._newest[job.org_id]
        heapq.heappush(newest, (job.changed_at, job.id, job))
        if len(newest) > most:
            oldest = heapq.heappop(newest)[-1]
            if oldest.changed_at < self._now_ms - self._keeping.least_s * 1000:
                yield oldest, self._keeping.least_s


class Retention:
    """Deletes as long as it is entered."""

    def __init__(
        self, store: Store, clock: Clock, keeping: Keeping, on_deleted: Callable[[JobAge], None]
    ) -> None:
        """Take where jobs are, how long they are kept, and whom to tell which one was deleted."""
        self._store = store
        self._clock = clock
        self._keeping = keeping
        self._on_deleted = on_deleted
        wanted_s = LATEST_LOOK_S if keeping.for_s is None else keeping.for_s / LOOKS_PER_TIME
        self._look_s = min(LATEST_LOOK_S, max(SOONEST_LOOK_S, wanted_s))
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to look."""
        if not self._keeping.is_everything:
            self._task = asyncio.create_task(self._look_for_ever(), name="retention")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; what is deleted in part goes on at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look_for_ever(self) -> None:
        # A clock that is set, or was wrong at the start, would make every job look old.
        patience = Patience(self._clock, min(LATEST_LOOK_S, self._keeping.least_s), self._look_s)
        while True:
            await asyncio.sleep(self._look_s)
            if patience.is_over():
                await self._try()
                patience.looked()

    async def _try(self) -> None:
        try:
            await self.look()
        except (StoreBusy, StoreFailed) as exc:
            log.warning("retention.delayed", reason=str(exc))
        except Exception:
            log.exception("retention.failed", consequence="finished jobs are kept until the next look")

    async def look(self) -> None:
        """Walk through all jobs once and delete what goes."""
        choice = Choice(self._keeping, to_ms(self._clock.now()))
        last: JobAge | None = None
        while jobs := await self._store.job_ages(last, JOBS_AT_ONCE):
            for job in jobs:
                for old, age_s in choice.goes(job):
                    if await self.delete(old, age_s) is Deletion.ELSEWHERE:
                        return  # another server is at it
            last = jobs[-1]

    async def delete(self, job: JobAge, age_s: float) -> Deletion:
        """Delete a job that is so old, unless a result of it may still come; tell what became of it."""
        awaited_since_ms = to_ms(self._clock.now()) - int(RESULTS_AWAITED_S * 1000)
        if not job.is_going and await self._store.awaits_results(job.org_id, job.id, awaited_since_ms):
            log.debug("job.kept", job_id=job.id, reason="a result of it may still come")
            return Deletion.KEPT
        command = DeleteJob(
            org_id=job.org_id,
            id=job.id,
            changed_at=job.changed_at,
            age_ms=int(age_s * 1000),
            most=ROWS_AT_ONCE,
        )
        while True:
            came = await self._store.apply(command)
            if came is Deletion.GONE:
                log.info("job.deleted", org_id=job.org_id, job_id=job.id, tasks=job.tasks)
                self._on_deleted(job)
            if came is not Deletion.PARTLY:
                return came
            await asyncio.sleep(PAUSE_S)
