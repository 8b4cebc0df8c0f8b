"""Outcomes: how the runs of a job ended, taken together."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

__all__ = ["MOST_FAILURES", "MOST_PATTERNS", "FailureGroup", "Failures", "Pace", "SlowTask", "TaskTimes"]

MOST_FAILURES: Final = 50_000  # the newest ones of a job that are looked at, so that the time is bounded
MOST_PATTERNS: Final = 200  # groups that are told, the largest ones


class TaskTimes(Struct, frozen=True):
    """Of each of a job's tasks, as they were made: a letter for its state, and how long its run took."""

    states: str  # as `Store.task_states`
    took_ms: list[int]  # of its current run; of one that lives until now; -1 where it has not started


class SlowTask(Struct, frozen=True, kw_only=True):
    """A task whose current run took, or takes, long."""

    id: str
    title: str | None
    state: str  # a letter, as in `TaskTimes`
    took_s: float


class Pace(Struct, frozen=True):
    """How long the newest successful runs of a job took."""

    mean_s: float | None  # None where there is none
    runs: int  # how many were looked at


class FailureGroup(Struct, frozen=True, kw_only=True):
    """Failed runs that say the same in their first line, but for numbers, ids and paths."""

    pattern: str  # the line, with … for what differs; the line itself where all say the same
    newest_line: str
    newest_run_id: str  # the one that started last
    newest_stopped_at: str
    runs: int
    tasks: int


class Failures(Struct, frozen=True, kw_only=True):
    """What the failed runs of a job say, the most frequent first."""

    groups: tuple[FailureGroup, ...] = ()
    looked_at: int = 0  # runs; no more than `MOST_FAILURES`, the newest
    patterns: int = 0  # how many groups there are, told or not

    @property
    def is_all(self) -> bool:
        """Tell whether every failed run was looked at."""
        return self.looked_at < MOST_FAILURES

    @property
    def untold(self) -> int:
        """How many runs are in groups that are not told."""
        return self.looked_at - sum(group.runs for group in self.groups)
