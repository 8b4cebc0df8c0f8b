"""Which of the pending tasks this agent tries, and in which order. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable
from itertools import groupby

from msgspec import Struct

from worker.api.models import Task

__all__ = ["Choice", "choose", "spread"]


class Choice(Struct, frozen=True):
    """The tasks to try, and those that are left, with the reasons."""

    candidates: list[Task]
    left: list[tuple[Task, tuple[str, ...]]]
    foreign: int = 0  # tasks of a type that has no handler here
    tried: int = 0  # tasks that this agent has, or lost a moment ago
    deferred: int = 0  # tasks that failed, and whose wait is not over


def choose(
    tasks: Iterable[Task],
    types: Collection[str],
    unmet: Callable[[Task], tuple[str, ...]],
    skip: Callable[[str], bool],
    is_waiting: Callable[[str], bool] = lambda task_id: False,
) -> Choice:
    """Choose from a list of pending tasks, keeping its order.

    `unmet` names what the machine lacks for a task; `skip` tells whether a task (by id) is ours
    already or was lost a moment ago, `is_waiting` whether its next attempt is not due yet. A task
    that a server lists although it is not pending is left out.
    """
    candidates: list[Task] = []
    left: list[tuple[Task, tuple[str, ...]]] = []
    foreign = tried = deferred = 0
    for task in tasks:
        if task.run_status not in (None, "pending"):
            continue
        if is_waiting(task.id):
            deferred += 1
        elif skip(task.id):
            tried += 1
        elif task.type not in types:
            foreign += 1
        elif reasons := unmet(task):
            left.append((task, reasons))
        else:
            candidates.append(task)
    return Choice(candidates, left, foreign, tried, deferred)


def spread(tasks: Iterable[Task], agent_id: str) -> list[Task]:
    """Order equals differently on each agent, so that agents that see one list do not race.

    Tasks keep their order by priority; among neighbours of the same priority the order is that of
    a hash of agent and task (rendezvous hashing).
    """
    ordered: list[Task] = []
    for _, equals in groupby(tasks, key=lambda task: task.priority):
        ordered.extend(sorted(equals, key=lambda task: rank(agent_id, task.id)))
    return ordered


def rank(agent_id: str, task_id: str) -> bytes:
    """Return the place of a task in an agent's own order."""
    return hashlib.blake2b(f"{agent_id}:{task_id}".encode(), digest_size=8).digest()
