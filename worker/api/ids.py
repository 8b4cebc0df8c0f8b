"""Ids that two agents compute alike, so that the server's key decides a race."""

from __future__ import annotations

import hashlib
from typing import Final
from uuid import UUID

__all__ = ["claim_run_id", "requeue_run_id"]

# Drawn once at random for this purpose; every agent must have the same one, for ever.
NAMESPACE: Final = UUID("da545285-712f-4927-973f-e7f17535e48d")
SPACE: Final = NAMESPACE.bytes
VARIANTS: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))  # the highest two bits are 10


def claim_run_id(task_id: str, placeholder_id: str | None = None) -> str:
    """Return the id of the run that claims a task: never run, or pending by a placeholder."""
    return derived(task_id if placeholder_id is None else f"{task_id}:{placeholder_id}")


def requeue_run_id(ended_run_id: str) -> str:
    """Return the id of the placeholder that requeues a task after the run that ends."""
    return derived(f"requeue:{ended_run_id}")


def derived(name: str) -> str:
    """Return the UUIDv5 of a name in our namespace (RFC 9562, section 5.5).

    As `uuid.uuid5` does, for a fifth of the time: each claim needs one.
    """
    digits = hashlib.sha1(SPACE + name.encode(), usedforsecurity=False).hexdigest()
    variant = VARIANTS[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"
