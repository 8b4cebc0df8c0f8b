"""What time and memory a run may take: a pure decision, made alike by the agent and the child."""

from __future__ import annotations

from typing import Final, TypeVar

from msgspec import Struct

__all__ = ["NONE", "Limits", "effective", "effective_limits"]

N = TypeVar("N", int, float)


class Limits(Struct, frozen=True, kw_only=True):
    """Limits of one run; None means that there is none."""

    timeout_s: float | None = None  # wall time from the moment that the handler is ready
    no_progress_s: float | None = None  # between two tellings of progress
    memory_bytes: int | None = None  # of all processes of the run together


NONE: Final = Limits()


def effective_limits(task: Limits, handler: Limits, agent: Limits) -> Limits:
    """Return what holds: each limit of the task, else of the handler; never above the agent's."""
    if task == NONE and agent == NONE:  # as mostly
        return handler
    return Limits(
        timeout_s=effective(task.timeout_s, handler.timeout_s, agent.timeout_s),
        no_progress_s=effective(task.no_progress_s, handler.no_progress_s, agent.no_progress_s),
        memory_bytes=effective(task.memory_bytes, handler.memory_bytes, agent.memory_bytes),
    )


def effective(task: N | None, handler: N | None, agent: N | None) -> N | None:
    """Return the wish of the one who knows best, bounded by the owner of the machine."""
    wish = handler if task is None else task
    if wish is None or agent is None:
        return agent if wish is None else wish
    return min(wish, agent)
