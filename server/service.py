"""Tell the service manager how a server stands: ready, listening, ending; and that its loop turns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from worker.service_manager import ServiceManager

__all__ = ["watched_by"]


@contextlib.asynccontextmanager
async def watched_by(manager: ServiceManager) -> AsyncIterator[None]:
    """Beat for the manager's watchdog until the block ends; where it has none, nothing ticks.

    The beat comes from the loop that serves. A database that is away is none of the watchdog's matters.
    """
    if (beat_s := manager.beat_s) is None:
        yield
        return
    beating = asyncio.create_task(beat(manager, beat_s), name="service-manager")
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


async def beat(manager: ServiceManager, beat_s: float) -> None:
    """Say again and again that this process goes on."""
    while True:
        manager.beat()
        await asyncio.sleep(beat_s)
