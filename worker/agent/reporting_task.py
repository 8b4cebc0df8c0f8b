"""The reports of one run, in a task that begins with the first of them: most short runs have none."""

from __future__ import annotations

import asyncio

from worker.agent.errands import cancel
from worker.agent.shared_timer import SharedTimer
from worker.reporting.reporter import Reporter

__all__ = ["Reporting", "until_lost"]


class Reporting:
    """Report a run from its first report interval on. Used on one event loop; `end` must be awaited."""

    def __init__(self, reporter: Reporter, timer: SharedTimer) -> None:
        """Begin when the first report may be due, which the timer tells; sooner where `begin` is called."""
        self._reporter = reporter
        self._timer = timer
        self._task: asyncio.Task[bool] | None = None
        self._since = asyncio.get_running_loop().time()
        timer.add(self, self._since + reporter.interval_s, self.begin)

    def begin(self) -> asyncio.Task[bool]:
        """Begin now, where it has not begun; see `until_lost` for what the task tells."""
        if self._task is None:
            self._timer.remove(self)
            waited_s = asyncio.get_running_loop().time() - self._since
            self._task = asyncio.create_task(until_lost(self._reporter, waited_s))
        return self._task

    async def end(self, patience_s: float = 0.0) -> bool:
        """Report no more; what has not begun takes no round of the loop.

        A report that is on its way has so long to be answered: given up it may still arrive, after what is
        told next. Returns whether none may.
        """
        self._timer.remove(self)
        if self._task is None:
            return True
        try:
            return await self._reporter.answered(patience_s)
        finally:
            await cancel(self._task)


async def until_lost(reporter: Reporter, waited_s: float = 0.0) -> bool:
    """Report until the run is lost; tell whether it is another's then."""
    await reporter.run(waited_s)
    return reporter.is_taken
