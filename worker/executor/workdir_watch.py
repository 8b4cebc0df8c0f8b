"""Whether the folder of a run holds more than it may."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from worker.executor.folder_size import FolderSize, Measurement
from worker.executor.quantities import size_text

__all__ = ["Looks", "Measuring", "WorkdirWatch", "excess", "pause_s"]

STEP_S: Final = 0.1  # one stretch in the thread, so that others get theirs
SHARE: Final = 0.02  # of one core, for all looking
AT_ONCE: Final = 2  # of the threads that everything blocking shares
PAUSE_MIN_S: Final = 1.0  # what a fast disk takes meanwhile is a few GB
PAUSE_MAX_S: Final = 60.0  # with 10⁵ files it is some 10 s; with 10⁶ looking takes more than its share


class Measuring(Protocol):
    """One measurement; see `worker.executor.folder_size.Measurement`."""

    spent_s: float

    def step(self, limit_s: float) -> FolderSize | None:
        """Go on; return the size once it is known."""

    def close(self) -> None:
        """Close what is open."""


class Looks:
    """What the watches of one agent share."""

    def __init__(self) -> None:
        """Start with none."""
        self.watches = 0
        self.turns = asyncio.Semaphore(AT_ONCE)


class WorkdirWatch:
    """Watch one folder. `exceeded` is for a task of its own, which the end of the run cancels."""

    def __init__(
        self,
        folder: Path,
        limit_bytes: int,
        measure: Callable[[Path, int], Measuring] = Measurement,
        looks: Looks | None = None,
    ) -> None:
        """`measure` begins one measurement of a folder, which may end with more than so many bytes."""
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._measure = measure
        self._looks = looks or Looks()

    async def exceeded(self) -> str:
        """Wait until the folder holds more than its limit; return what to say of it."""
        self._looks.watches += 1
        try:
            while True:
                size, spent_s = await self._look()
                if (text := excess(size.size_bytes, self._limit_bytes)) is not None:
                    return text
                await asyncio.sleep(pause_s(spent_s * self._looks.watches))
        finally:
            self._looks.watches -= 1

    async def _look(self) -> tuple[FolderSize, float]:
        measuring = self._measure(self._folder, self._limit_bytes)
        size = None
        while size is None:
            async with self._looks.turns:
                size = await self._step(measuring)
        return size, measuring.spent_s

    async def _step(self, measuring: Measuring) -> FolderSize | None:
        step = asyncio.ensure_future(asyncio.to_thread(measuring.step, STEP_S))
        try:
            return await asyncio.shield(step)
        except asyncio.CancelledError:  # what the thread has open is closed when it is done with it
            step.add_done_callback(lambda done: closed(done, measuring))
            raise


def closed(step: asyncio.Future[FolderSize | None], measuring: Measuring) -> None:
    """Close a measurement that nobody waits for."""
    if not step.cancelled():
        step.exception()
    measuring.close()


def pause_s(spent_s: float) -> float:
    """Return how long to wait after a look that took so much of a core."""
    wished_s = spent_s * (1 / SHARE - 1)
    return min(max(wished_s, PAUSE_MIN_S), PAUSE_MAX_S)


def excess(size_bytes: int, limit_bytes: int) -> str | None:
    """Return what to say of a folder that holds more than its limit; None of one that does not."""
    if size_bytes <= limit_bytes:
        return None
    held, allowed = size_text(size_bytes), size_text(limit_bytes)
    if held == allowed:
        held, allowed = f"{size_bytes} bytes", f"{limit_bytes} bytes"
    return f"the run's folder holds {held}, more than its limit of {allowed}"
