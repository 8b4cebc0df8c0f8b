"""The jobs whose tasks follow a change of theirs now, part after part."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from server.store.refusal import StoreBusy, StoreFailed
from server.store.sql.following import FollowJob

__all__ = ["LAGGING", "Following"]

AGAIN_AFTER_S: Final = 1.0  # a full queue or a full disk
LAGGING: Final = "SELECT org_id, id, lagging_since FROM jobs WHERE lagging_since IS NOT NULL"

log = structlog.get_logger(__name__)

Key = tuple[str, str]  # organisation, job


class Following:
    """Gives the writer one part of each job after another, and of all jobs only a few at once.

    Somebody may pause hundreds of large jobs: parts of all of them at once would fill the queue of
    commands, and every request would be refused. Jobs take turns, so none waits for all parts of another.
    """

    def __init__(self, submit: Callable[[FollowJob], Awaitable[FollowJob | None]], at_once: int = 1) -> None:
        """Give commands to the writer, so many at once."""
        self._submit = submit
        self._turns = asyncio.Semaphore(at_once)
        self._wanted: dict[Key, FollowJob] = {}
        self._under_way: dict[Key, asyncio.Task[None]] = {}

    def jobs_of(self, org_id: str) -> frozenset[str]:
        """Return the jobs of an organisation whose tasks may not show its state yet."""
        return frozenset(job_id for org, job_id in self._under_way if org == org_id)

    def begin(self, first: FollowJob) -> None:
        """Bring all tasks of a job in line; a walk that is under way sees itself that it must begin anew."""
        key = (first.org_id, first.job_id)
        self._wanted[key] = first
        if key not in self._under_way:
            self._under_way[key] = asyncio.create_task(self._follow(key), name="following")

    async def end(self) -> None:
        """Leave the rest to the next start."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, key: Key) -> None:
        try:
            while first := self._wanted.pop(key, None):
                part: FollowJob | None = first
                while part is not None:
                    part = await self._do(part)
        except Exception:
            log.exception("job.not_followed", job_id=key[1], consequence="its tasks wait for a restart")
        finally:
            del self._under_way[key]

    async def _do(self, part: FollowJob) -> FollowJob | None:
        try:
            async with self._turns:
                return await self._submit(part)
        except (StoreBusy, StoreFailed) as exc:
            log.warning("job.following_delayed", job_id=part.job_id, reason=str(exc))
            await asyncio.sleep(AGAIN_AFTER_S)
            return part
