"""Create a job with its tasks so that a repeated submit makes nothing twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
from uuid import UUID, uuid5

from msgspec import Struct

from worker.api.errors import ApiError, Conflict, NotFound, Refused
from worker.api.models import Job, Task
from worker.cli.exits import CliError, ExitCode
from worker.cli.session import Session, explain

__all__ = ["Plan", "Submitted", "submit"]

M = TypeVar("M")

# Drawn once at random for this purpose: one key gives one job, for ever.
NAMESPACE: Final = UUID("4c1b0c5e-3a0f-4a56-9a44-0f8f7f0f7d0b")
REQUESTS = 8  # at once
DIGEST = "submission"  # of the job's parameters: the content that its key stands for


class Plan(Struct, frozen=True, kw_only=True):
    """What is to be created."""

    key: str
    type: str
    title: str
    priority: int | None = None
    parameters: list[dict[str, Any]]  # of each task
    titles: list[str]  # of each task

    @property
    def job_id(self) -> str:
        """Return the job's id, which follows from the key."""
        return str(uuid5(NAMESPACE, self.key))

    @property
    def digest(self) -> str:
        """Return what tells two contents apart."""
        content = json.dumps([self.type, self.parameters], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()

    def job_body(self) -> dict[str, Any]:
        """Return the body that creates the job."""
        body: dict[str, Any] = {"id": self.job_id, "type": self.type, "title": self.title}
        body["parameters"] = {DIGEST: self.digest}
        return body if self.priority is None else {**body, "priority": self.priority}

    def task_body(self, index: int, job_id: str) -> dict[str, Any]:
        """Return the body that creates one task."""
        body: dict[str, Any] = {
            "id": str(uuid5(NAMESPACE, f"{job_id}:{index}")),
            "jobId": job_id,
            "type": self.type,
            "title": self.titles[index],
            "parameters": self.parameters[index],
        }
        return body if self.priority is None else {**body, "priority": self.priority}


class Submitted(Struct, frozen=True):
    """A job that exists now, with all its tasks."""

    job: Job
    task_ids: list[str]
    created: int  # how many tasks this call created; the rest was there before


async def submit(session: Session, plan: Plan, on_task: Callable[[], None] = lambda: None) -> Submitted:
    """Create what of the plan is not there yet; `on_task` is called for each task that is.

    Raises: CliError where the key stands for another content, or not everything could be created;
        the message says what was.
    """
    job = await create_job(session, plan)
    tasks: list[Task | None] = [None] * len(plan.parameters)
    failures: list[ApiError | CliError] = []
    created = 0
    waiting = iter(range(len(tasks)))

    async def create() -> None:
        nonlocal created
        for index in waiting:
            if failures:  # what is under way ends, so that it is known; nothing new begins
                return
            try:
                tasks[index], is_new = await create_task(session, plan, index, job.id)
            except (ApiError, CliError) as exc:
                failures.append(exc)
                return
            created += is_new
            on_task()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(REQUESTS, len(tasks))):
            group.create_task(create())
    there = [task.id for task in tasks if task is not None]
    if failures:
        raise partly(session, plan, job, len(there), failures[0]) from failures[0]
    return Submitted(job, there, created)


async def create_job(session: Session, plan: Plan) -> Job:
    """Create the job, or find the one that the key made before."""
    body = plan.job_body()
    job, _ = await create_or_find(
        session, lambda: session.api.create_job(body), lambda: session.api.get_job(plan.job_id)
    )
    known = job.parameters.get(DIGEST)
    if job.type != plan.type or (known is not None and known != plan.digest):
        raise other_content(plan, f"job {job.id}")
    return job


async def create_task(session: Session, plan: Plan, index: int, job_id: str) -> tuple[Task, bool]:
    """Create one task, or find it; tell whether it is new."""
    body = plan.task_body(index, job_id)
    task, is_new = await create_or_find(
        session, lambda: session.api.create_task(body), lambda: session.api.get_task(body["id"])
    )
    if task.type != plan.type or task.parameters != body["parameters"]:
        raise other_content(plan, f"task {task.id}")
    return task, is_new


async def create_or_find(
    session: Session, create: Callable[[], Awaitable[M]], find: Callable[[], Awaitable[M]]
) -> tuple[M, bool]:
    """Create by an id of our choice; where the server refuses, look whether it is there already."""
    try:
        return await session.ask(create), True
    except (Conflict, Refused) as refusal:
        try:
            return await session.ask(find), False
        except NotFound:
            raise refusal from None


def other_content(plan: Plan, what: str) -> CliError:
    """Return the error of a key that was used for something else."""
    return CliError(
        f"idempotency key {plan.key!r} was used before with other content ({what} differs)",
        "repeat the submit exactly as it was, or take another key",
        code=ExitCode.REFUSED,
    )


def partly(session: Session, plan: Plan, job: Job, done: int, error: ApiError | CliError) -> CliError:
    """Return the error of a submit that stopped half-way."""
    if isinstance(error, CliError):
        return error
    why = explain(error, session.config)
    return CliError(
        f"job {job.id} has {done} of {len(plan.parameters)} tasks, then: {why.message}",
        f"the same command with --idempotency-key {plan.key} completes it",
        code=why.code,
    )
