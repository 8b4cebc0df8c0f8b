"""The runs of one task beside each other: which attempt a run is, and what the others came to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from server.dashboard.runs import RunView, run_view
from server.store.records import RunRecord

__all__ = ["Attempts", "attempts_of"]


class Attempts(Struct, frozen=True, kw_only=True):
    """The runs of a task, the newest first."""

    runs: list[RunView]  # without those that only kept the task's place until it was started
    number: int | None  # of the run that is looked at, from 1; None: it has not started, or nobody can tell
    count: int  # of those that have started
    is_whole: bool  # False: there are older ones, too


def attempts_of(run: RunRecord, beside: Sequence[RunRecord], now: datetime, *, is_whole: bool) -> Attempts:
    """Return the runs of a task as the page of one of them shows them.

    Args:
        run: the one that is looked at.
        beside: the newest of its task, the newest first; it need not be among them.
        now: the time by the server's clock.
        is_whole: whether those are all. Else the number of an attempt is unknown.
    """
    started = [one.id for one in reversed(beside) if one.started_at is not None]
    is_known = is_whole and run.id in started
    return Attempts(
        runs=[run_view(one, now) for one in beside if one.started_at is not None or one.stopped_at is None],
        number=started.index(run.id) + 1 if is_known else None,
        count=len(started),
        is_whole=is_whole,
    )
