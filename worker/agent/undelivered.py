"""Tasks whose result this agent has already, and has not brought to the server yet."""

from __future__ import annotations

from typing import Final

from worker.agent.recovery import KEPT
from worker.api.models import Task
from worker.reporting.journal import Journal
from worker.reporting.records import DELIVERED_MARK

__all__ = ["undelivered"]

SETTLED: Final = KEPT | {DELIVERED_MARK}  # the server has it, though files follow; or a person must look


def undelivered(task: Task, journal: Journal) -> tuple[str, ...]:
    """Return why a task is left alone: an outcome of it is on its way, and may count still.

    The server may have given up the run while it did not hear of it, and made its task pending.
    """
    for entry in journal.entries.values():
        if entry.task_id == task.id and entry.has_outcome and SETTLED.isdisjoint(entry.marks):
            return (f"the outcome of its run {entry.run_id} here is not delivered yet",)
    return ()
