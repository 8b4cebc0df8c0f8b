"""How long a job will take yet, by what is known so far."""

from __future__ import annotations

import math
from typing import Final

from msgspec import Struct

from server.store.outcomes import Pace
from server.store.records import JobRecord
from server.store.rules import ACTIVE, is_closed

__all__ = ["Left", "about", "time_left"]

NOTHING_YET: Final = "nothing has finished yet"
STEPS: Final = ((60, 5), (3_600, 60), (86_400, 300), (math.inf, 3_600))  # below so many seconds -> rounded to


class Left(Struct, frozen=True):
    """The time that is left; where it is unknown, why."""

    seconds: float | None
    why: str  # or how it was reckoned


def time_left(job: JobRecord, pace: Pace) -> Left | None:
    """Return how long a job will take yet; None where nothing is left to do.

    Tasks that are left, times what one took lately, divided by how many are at work. A running task counts
    for what its progress leaves of it.
    """
    if not (job.task_status_pending or job.task_status_running) or is_closed(job.scheduler_state):
        return None
    if job.scheduler_state != ACTIVE:
        return Left(None, job.scheduler_state)
    if pace.mean_s is None:
        return Left(None, "nothing has succeeded lately" if job.task_result_successes else NOTHING_YET)
    if not job.task_status_running:
        return Left(None, "nothing runs")
    tasks = min(job.task_count * (1 - job.task_progress), job.task_status_pending + job.task_status_running)
    seconds = max(0.0, tasks) * pace.mean_s / job.task_status_running
    newest = "newest success" if pace.runs == 1 else f"{pace.runs} newest successes"
    return Left(seconds, f"by the {newest}, with {job.task_status_running:,} at work")


def about(seconds: float) -> str:
    """Say a time as roughly as it is known: ``about 25 s``, ``about 3 h 20 min``; never nothing."""
    step = next(step for most, step in STEPS if seconds < most)
    whole = max(step, round(seconds / step) * step)
    days, hours, minutes = whole // 86_400, whole % 86_400 // 3_600, whole % 3_600 // 60
    parts = ((days, "d"), (hours, "h"), (minutes if not days else 0, "min"), (whole % 60, "s"))
    return f"about {' '.join(f'{count:,} {unit}' for count, unit in parts if count)}"
