"""Bugs of the waits between attempts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.simulation.bugs.change import Change
from worker.agent.deferrals import Deferrals
from worker.reporting.records import Entry
from worker.reporting.requeue import Requeues


def does_not_wait() -> Sequence[Change]:
    """Take a task as soon as it is pending."""
    return [(Deferrals, "is_waiting", lambda self, task_id: False)]


def tells_the_wait_late() -> Sequence[Change]:
    """Let only the report that stops a run tell how long the next one waits."""

    async def tell_wait(self: Requeues, entry: Entry, retry: Any) -> dict[str, Any]:
        return {}

    return [(Requeues, "_tell_wait", tell_wait)]


def waits_anew() -> Sequence[Change]:
    """Begin a wait again at each look, as on a server whose time nobody can compare."""
    real = Deferrals.note

    def note(self: Deferrals, task_id: str, placeholder_id: str, left_s: float) -> None:
        self._known.pop(task_id, None)
        real(self, task_id, placeholder_id, left_s)

    return [(Deferrals, "note", note)]
