"""Changes: what a committed write means to those who wait for tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

__all__ = ["AnyPending", "Change", "JobLags", "Listener", "TaskDeferred", "TaskTaken", "TasksPending"]


class TasksPending(Struct, frozen=True):
    """Tasks of a type became claimable."""

    org_id: str
    type: str
    count: int = 1
    asked: tuple[int, ...] = ()  # servers whose waiters were called for them already


class TaskTaken(Struct, frozen=True):
    """A task is not claimable any more: claimed, cancelled or done."""

    org_id: str
    task_id: str


class TaskDeferred(Struct, frozen=True):
    """A task is pending again, or will be, and is not to be tried before its wait is over; 0: at once."""

    org_id: str
    task_id: str
    type: str
    for_s: float


class AnyPending(Struct, frozen=True):
    """Nobody knows what became claimable: everybody who waits looks again."""


class JobLags(Struct, frozen=True):
    """Some tasks of a job are still to follow a change of it; for the store itself."""

    org_id: str
    job_id: str
    is_whole: bool  # all of them, else those that are pending
    since: int  # which change


Change = TasksPending | TaskTaken | TaskDeferred | AnyPending | JobLags
Listener = Callable[[Sequence[Change]], None]
