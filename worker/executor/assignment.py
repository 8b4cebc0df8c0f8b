"""What the executor is given: one task to run."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

__all__ = ["Assignment"]


class Assignment(Struct, frozen=True, kw_only=True):
    """One run to execute, as the child sees it. Holds neither token nor URL of the API."""

    run_id: str
    task_id: str
    job_id: str | None = None
    type: str
    title: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)  # the task's further fields (image, cmd, …)
    attempt: int = 1  # counted from 1
    resume: Any = None  # the checkpoint of the run before, where there is one
    gpus: tuple[str, ...] = ()  # UUIDs of the GPUs that this run may use
