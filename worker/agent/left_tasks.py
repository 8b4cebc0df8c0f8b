"""Tasks that are left to others, since they do not fit this machine: which, and why."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import structlog

from worker.agent.bounded import remember
from worker.api.models import Task

__all__ = ["LeftTasks"]

LOGGED_MAX = 1_000  # tasks of which it is remembered that the log tells of them
log = structlog.get_logger()


class LeftTasks:
    """Tells of each such task once, by the log."""

    def __init__(self) -> None:
        """Start with none."""
        self._logged: OrderedDict[str, None] = OrderedDict()

    def tell(self, left: Iterable[tuple[Task, tuple[str, ...]]]) -> None:
        """Take the tasks that a page of a poll leaves to others, and what this machine lacks for each."""
        for task, reasons in left:
            if task.id not in self._logged:
                remember(self._logged, task.id, None, LOGGED_MAX)
                log.info("task.left", task_id=task.id, type=task.type, reasons=list(reasons))
