"""Changes: what a committed write means to those who wait for tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

__all__ = ["Change", "Listener", "TaskTaken", "TasksPending"]


class TasksPending(Struct, frozen=True):
    """Tasks of a type became claimable."""

    org_id: str
    type: str
    count: int = 1


class TaskTaken(Struct, frozen=True):
    """A task is not claimable any more: claimed, cancelled or done."""

    org_id: str
    task_id: str


Change = TasksPending | TaskTaken
Listener = Callable[[Sequence[Change]], None]
