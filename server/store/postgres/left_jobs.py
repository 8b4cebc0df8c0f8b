"""What other servers left: jobs whose tasks one that died had begun to bring in line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import structlog

from server.store.following import LAGGING
from server.store.postgres.session import NOW
from server.store.refusal import StoreBusy, StoreFailed
from server.store.sql.dialect import Row
from server.store.sql.following import FollowJob

__all__ = ["Left"]

LOOK_EVERY_S: Final = 30.0
LEFT_MS: Final = 60_000  # since the change, or the last part; then whoever followed it has most likely died
LEFT: Final = f"{LAGGING} AND (? OR greatest(lagging_since, followed_at) < {NOW} - ?)"

log = structlog.get_logger(__name__)

Read = Callable[[str, list[Any]], Awaitable[Sequence[Row]]]


class Left:
    """Looks from the start to the end, whatever else a server was told to do or not to do."""

    def __init__(self, read: Read, begin: Callable[[FollowJob], None]) -> None:
        """Take what reads a statement, and what goes on with a job."""
        self._read = read
        self._begin = begin
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look for all that is left, then again and again for what was left since.

        Raises:
            StoreBusy, StoreFailed: the first look failed.
        """
        await self._look(at_once=True)
        self._looking = asyncio.create_task(self._look_for_ever(), name="left")

    async def stop(self) -> None:
        """Stop looking."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self._look()
            except (StoreBusy, StoreFailed) as exc:
                log.warning("left.delayed", reason=str(exc))
            except Exception:
                log.exception("left.failed", consequence="tasks wait for the next look")

    async def _look(self, *, at_once: bool = False) -> None:
        for row in await self._read(LEFT, [at_once, LEFT_MS]):
            self._begin(FollowJob(row["org_id"], row["id"]))
