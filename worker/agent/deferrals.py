"""Tasks that are not to be tried yet: their last run failed, and the wait before the next is not over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog
from msgspec import Struct

from worker.api import wire
from worker.api.ids import requeue_run_id
from worker.api.models import Run, recency
from worker.clock import Clock
from worker.executor.retries import WAIT_MAX_S

__all__ = ["Deferrals", "left_s", "told_wait_s"]

TASKS_MAX: Final = 10_000  # remembered; one that is forgotten is looked at again, which costs three requests
LATE_S: Final = 5.0  # after a wait until an agent believes that its task will not be listed any more
log = structlog.get_logger()


class Deferral(Struct, frozen=True):
    """Until when one placeholder is left alone, by our monotonic clock."""

    placeholder_id: str
    due_mono: float


class Deferrals:
    """What this agent knows of waits, so that it asks for each of them once."""

    def __init__(self, clock: Clock) -> None:
        """Know of none."""
        self._clock = clock
        self._known: dict[str, Deferral] = {}  # by task

    def note(self, task_id: str, placeholder_id: str, left_s: float) -> None:
        """Learn how much of a wait is left.

        Whatever a server's clock tells later, a wait that was seen once is never made longer: it ends
        by our own clock at the latest.
        """
        due_mono = self._clock.mono() + min(left_s, WAIT_MAX_S)
        known = self._known.get(task_id)
        if known is not None and known.placeholder_id == placeholder_id:
            due_mono = min(due_mono, known.due_mono)
        self._known.pop(task_id, None)
        self._known[task_id] = Deferral(placeholder_id, due_mono)
        while len(self._known) > TASKS_MAX:
            del self._known[next(iter(self._known))]

    def is_due(
        self,
        task_id: str,
        known: Sequence[Run],
        placeholders: Sequence[Run],
        server_now: datetime | None,
        *,
        keeps_ids: bool,
    ) -> bool:
        """Tell whether no wait keeps a task from its next attempt; what is left of one is remembered.

        `known` are its runs, `placeholders` those that make it pending, the last one counts.
        """
        if not placeholders:
            return True
        wait_s = told_wait_s(known, placeholders[-1], keeps_ids=keeps_ids)
        if wait_s <= 0:
            return True
        rest_s = left_s(wait_s, placeholders[-1], server_now)
        self.note(task_id, placeholders[-1].id, rest_s)
        if not self.is_waiting(task_id):
            return True
        log.debug("task.deferred", task_id=task_id, left_s=round(rest_s, 1))
        return False

    def is_waiting(self, task_id: str) -> bool:
        """Tell whether a task is to be left alone now."""
        known = self._known.get(task_id)
        return known is not None and known.due_mono > self._clock.mono()

    def next_s(self) -> float | None:
        """Return when the next wait is over; None where there is none."""
        now = self._clock.mono()
        return min((one.due_mono - now for one in self._known.values() if one.due_mono > now), default=None)

    def expects_any(self) -> bool:
        """Tell whether a task will be pending for us, or should be by now."""
        now = self._clock.mono()
        return any(one.due_mono + LATE_S > now for one in self._known.values())


def told_wait_s(known: Sequence[Run], placeholder: Run, *, keeps_ids: bool) -> float:
    """Return how long a requeued task waits from when its placeholder was made; 0 where nobody says.

    Said by the placeholder itself, else by the run whose agent made it. A person's placeholder, whose
    id is another one, waits for nothing; where the server gives ids, the run before it counts.
    """
    wait_s = wait_in(placeholder)
    if wait_s is None:
        before = [
            run
            for run in known
            if run.raw.get("startedAt")
            and run.error_kind != wire.ErrorKind.LOST_CLAIM
            and recency(run) < recency(placeholder)
        ]
        last = max(before, key=recency, default=None)
        if last is not None and (not keeps_ids or requeue_run_id(last.id) == placeholder.id):
            wait_s = wait_in(last)
    return min(max(wait_s or 0.0, 0.0), WAIT_MAX_S)


def wait_in(run: Run) -> float | None:
    """Return `results.retry.afterS` of a run."""
    return wire.as_float(wire.as_mapping(run.results.get("retry")).get("afterS"))


def left_s(wait_s: float, placeholder: Run, server_now: datetime | None) -> float:
    """Return what is left of a wait, by the server's times alone; all of it where they do not tell.

    `server_now` has whole seconds, rounded down, so that nothing is early.
    """
    if server_now is None or placeholder.created_at is None:
        return wait_s
    passed_s = (server_now - placeholder.created_at).total_seconds()
    return max(0.0, wait_s - max(0.0, passed_s))
