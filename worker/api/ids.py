"""Ids that two agents compute alike, so that the server's key decides a race."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid5

__all__ = ["claim_run_id", "requeue_run_id"]

# Drawn once at random for this purpose; every agent must have the same one, for ever.
NAMESPACE: Final = UUID("da545285-712f-4927-973f-e7f17535e48d")


def claim_run_id(task_id: str, placeholder_id: str | None = None) -> str:
    """Return the id of the run that claims a task: never run, or pending by a placeholder."""
    name = task_id if placeholder_id is None else f"{task_id}:{placeholder_id}"
    return str(uuid5(NAMESPACE, name))


def requeue_run_id(ended_run_id: str) -> str:
    """Return the id of the placeholder that requeues a task after the run that ends."""
    return str(uuid5(NAMESPACE, f"requeue:{ended_run_id}"))
