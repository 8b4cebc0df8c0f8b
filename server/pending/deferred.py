"""Tasks that failed and are not to be tried yet: hidden from agents until then.

Only lists are touched, never a claim. In memory: after a restart, and on another replica, such a task
is listed, and agents find its wait among its runs themselves.
"""

from __future__ import annotations

import asyncio
from typing import Final

from server.pending.reservations import Expired
from server.store.changes import TaskDeferred

__all__ = ["Deferred"]

LATER_S: Final = (
    1.0  # agents read the time from `Date`, which has whole seconds: then nobody finds it too early
)
MOST_DEFERRED: Final = 10_000  # tasks; further ones are shown


class Deferred:
    """Until when which tasks are hidden. One timer for each."""

    def __init__(self, due: Expired) -> None:
        """Call `due` for each task whose wait is over."""
        self._due = due
        self._timers: dict[str, dict[str, asyncio.TimerHandle]] = {}  # organisation -> task
        self._count = 0

    def hidden_from(self, org_id: str, agent: str | None) -> frozenset[str]:
        """Return the tasks that are not due; who has no name sees everything."""
        return frozenset() if agent is None else frozenset(self._timers.get(org_id, ()))

    def add(self, change: TaskDeferred) -> bool:
        """Hide a task for its wait; the newest counts alone. Returns whether the task is shown by that."""
        was_hidden = self.taken(change.org_id, change.task_id)
        if change.for_s <= 0 or self._count >= MOST_DEFERRED:
            return was_hidden
        loop = asyncio.get_running_loop()
        timer = loop.call_later(change.for_s + LATER_S, self._end, change)
        self._timers.setdefault(change.org_id, {})[change.task_id] = timer
        self._count += 1
        return False

    def taken(self, org_id: str, task_id: str) -> bool:
        """Forget a task: somebody has started it all the same, or it is done. Tells whether it was hidden."""
        timers = self._timers.get(org_id, {})
        if (timer := timers.pop(task_id, None)) is None:
            return False
        timer.cancel()
        self._count -= 1
        if not timers:
            del self._timers[org_id]
        return True

    def close(self) -> None:
        """Stop the timers."""
        for timers in self._timers.values():
            for timer in timers.values():
                timer.cancel()
        self._timers.clear()
        self._count = 0

    def _end(self, change: TaskDeferred) -> None:
        self.taken(change.org_id, change.task_id)
        self._due(change.org_id, change.type)
