"""Tasks of the event loop that go on beside each other, owned in one place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

__all__ = ["Errands", "cancel"]

log = structlog.get_logger()


class Errands:
    """A set of running errands; a fault in one is logged and ends only that one."""

    def __init__(self, on_end: Callable[[], None] = lambda: None) -> None:
        """`on_end` is called after each."""
        self._running: set[asyncio.Task[None]] = set()
        self._on_end = on_end

    def __len__(self) -> int:
        """How many are running."""
        return len(self._running)

    def start(self, errand: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start one more; who waits for it, with `asyncio.wait`, may be cancelled without harm to it."""
        task = asyncio.get_running_loop().create_task(errand)  # `asyncio.create_task` names it too
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def settle(self, limit_s: float) -> None:
        """Let all end within the limit; cancel those that do not."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=limit_s)
        await cancel(*self._running)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("agent.fault", exc_info=error)
        self._on_end()


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have cleaned up; those that are done take no round of the loop."""
    living = [task for task in tasks if not task.done()]
    for task in living:
        task.cancel()
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # it is known now
    if living:
        await asyncio.gather(*living, return_exceptions=True)
