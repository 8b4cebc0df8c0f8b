"""What runs say of further attempts: in a table, and while somebody waits for a job."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from worker.api import wire
from worker.api.models import Run, most_recent
from worker.cli import human

__all__ = ["next_attempt", "waiting"]

REASON_CHARS = 120


def next_attempt(run: Run) -> str | None:
    """Say what follows a run that failed, or from when a task that is pending again may be tried."""
    retry = wire.as_mapping(run.results.get("retry"))
    reason = wire.as_text(retry.get("reason"))
    if run.is_placeholder and (after_s := wire.as_float(retry.get("afterS"))) and run.created_at is not None:
        return f"not before {human.instant(later(run.created_at, after_s))}"
    if run.is_placeholder or run.is_live or run.raw.get("startedAt") is None:
        return None
    return None if reason is None else human.shorten(reason, REASON_CHARS)


def later(at: datetime, seconds: float) -> datetime | None:
    """Return a time so much later; None where there is none."""
    try:
        return at + timedelta(seconds=seconds)
    except OverflowError:
        return None


def waiting(runs: Sequence[Run]) -> str:
    """Say that tasks wait for their next attempt; empty where none of these runs tells of one.

    The text stays the same while they wait.
    """
    by_task: dict[str | None, list[Run]] = {}
    for run in runs:
        by_task.setdefault(run.task_id, []).append(run)
    told = []
    for of_task in by_task.values():
        latest = most_recent(of_task)
        if latest is None or not latest.is_placeholder:
            continue
        failed = most_recent([run for run in of_task if run.raw.get("startedAt")])
        if failed is not None and (said := next_attempt(failed)) is not None:
            told.append((failed.error or "it failed", said))
    if not told:
        return ""
    tasks = human.count(len(told), "task")
    error, said = told[0]
    return f"{tasks} failed and will be tried again: {human.shorten(error, REASON_CHARS)} ({said})"
