"""Children without a run: what is heard of them, and how they are let go in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import structlog

from worker.executor.frames import TearDownFailed, Up
from worker.executor.link import ChildLink
from worker.redaction import Redactor

__all__ = ["Idle", "LeavingChildren"]

MAX_CHARS: Final = 16 * 1024  # of a traceback in the log
FREE_TIMEOUT_S: Final = 30.0  # for a GPU; longer only where a process hangs in its driver

log = structlog.get_logger(__name__)


class Idle:
    """Hears a child that has no run; what it says then is nobody's, but for a teardown that failed."""

    def __init__(
        self, redact: Callable[[str], str] = str, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self._redact = redact
        self._on_change = on_change

    def on_frame(self, frame: Up) -> None:
        """Log a teardown that failed."""
        if isinstance(frame, TearDownFailed):
            log.warning(
                "child.teardown_failed",
                error=self._redact(frame.message[:MAX_CHARS]),
                traceback=self._redact((frame.traceback or "")[-MAX_CHARS:]),
            )

    def on_output(self, stream: str, data: bytes) -> None:
        """Forget it."""

    def on_change(self) -> None:
        """Pass it on."""
        self._on_change()


class LeavingChildren:
    """Children that are on their way out; `aclose` waits for all of them."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._tasks: dict[asyncio.Task[None], ChildLink] = {}

    def let_go(self, link: ChildLink) -> None:
        """Have a child tear its handler down and end; it is killed if that takes too long."""
        link.listener = Idle(lambda text: Redactor(link.secrets).text(self._redact(text)))
        task = asyncio.create_task(link.leave(), name=f"leave-child-{link.pid}")
        self._tasks[task] = link
        task.add_done_callback(self._tasks.pop)

    async def free(self, gpus: Collection[str]) -> None:
        """Wait until nobody who leaves holds one of these GPUs."""
        holders = [task for task, link in self._tasks.items() if not set(link.gpus).isdisjoint(gpus)]
        if not holders:
            return
        _, late = await asyncio.wait(holders, timeout=FREE_TIMEOUT_S)
        if late:
            log.warning("gpu.held", gpus=sorted(gpus), pids=[self._tasks[task].pid for task in late])

    async def aclose(self) -> None:
        """Wait until all are gone."""
        while self._tasks:
            await asyncio.wait(self._tasks)
