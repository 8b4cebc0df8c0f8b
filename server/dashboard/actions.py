"""What can be done from a page, each after a question that says what it will do."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from uuid import UUID, uuid5

from msgspec import Struct

from server.dashboard.forms import BadField, fields_of, parameters_of
from server.dashboard.look import Look, job_of, task_of
from server.dashboard.pages.handlers import handler_named
from server.store.commands import CreateJob, CreateRun, CreateTask, RunFields, UpdateJob
from server.store.queries import Page, RunQuery, Sort
from server.store.refusal import Reason, Refused
from worker.api.ids import requeue_run_id
from worker.api.wire import RunStatus

__all__ = ["ACTIONS", "Action", "NotNow", "Question", "submit"]

PRIORITY_CHARS: Final = 9
# Drawn once at random: what a form that is sent twice makes has the same ids.
NAMESPACE: Final = UUID("0e5f4f43-9a5f-4a0e-9c55-6a6e6b0f7d52")


class NotNow(Exception):  # noqa: N818 - says what it is
    """It cannot be done as things are; the message says why."""


class Question(Struct, frozen=True):
    """What is asked before, and where the answer leads back to."""

    title: str
    text: str
    button: str
    back: str


class Action(Struct, frozen=True):
    """One thing that can be done to one kind of thing."""

    name: str
    path: str
    ask: Callable[[Look], Awaitable[Question]]
    do: Callable[[Look], Awaitable[None]]


def set_state(verb: str, state: str, what_happens: str) -> Action:
    """Return the action that sets what is wanted of a job."""

    async def ask(look: Look) -> Question:
        job = await job_of(look, look.id)
        named = f"“{job.title}”" if job.title else job.id
        return Question(f"{verb} job {named}?", what_happens, f"{verb} it", f"/jobs/{job.id}")

    async def do(look: Look) -> None:
        await job_of(look, look.id)
        await look.store.apply(UpdateJob(org_id=look.org_id, id=look.id, scheduler_state=state))

    return Action(verb.lower(), f"/jobs/{{id}}/{verb.lower()}", ask, do)


async def ask_requeue(look: Look) -> Question:
    """Ask whether a task shall run again."""
    task = await task_of(look, look.id)
    named = f"“{task.title}”" if task.title else task.id
    text = (
        "It becomes pending, and the next free machine runs it, from its last checkpoint where it saved one."
        " Its runs so far stay as they are."
    )
    return Question(f"Run task {named} again?", text, "Run it again", f"/tasks/{look.id}")


async def requeue(look: Look) -> None:
    """Make a stopped task pending; asked twice, it is done once: the id follows from the run before."""
    task = await task_of(look, look.id)
    if task.run_status == RunStatus.RUNNING:
        raise NotNow("It is running. A task never runs twice at once.")
    if task.run_status == RunStatus.PENDING:
        return
    if (await job_of(look, task.job_id)).scheduler_state != "active":
        raise NotNow("Its job is not active: nothing of it is given to machines.")
    newest = Page(size=1, sort=Sort("createdAt", descending=True))
    runs = await look.store.runs(RunQuery(org_id=look.org_id, task_ids=(task.id,), page=newest))
    command = CreateRun(
        org_id=look.org_id,
        created_by=look.session.principal.token_id,
        task_id=task.id,
        id=requeue_run_id(runs[0].run.id),
        fields=RunFields(),
    )
    await look.store.apply(command)
    if (await task_of(look, task.id)).run_status == RunStatus.STOPPED:
        raise NotNow("The server keeps it stopped. Look at its runs.")


async def submit(look: Look, form: Mapping[str, str]) -> str:
    """Make a job with one task, once however often the form is sent; returns where it is seen.

    Raises:
        BadField: what was filled in cannot be read; nothing is made.
    """
    handler = await handler_named(look, look.id)
    parameters = parameters_of(fields_of(handler.schema), form)
    priority = form.get("priority", "").strip() or "0"
    if not priority.removeprefix("-").isdecimal() or len(priority) > PRIORITY_CHARS:
        raise BadField(f"priority: {priority[:60]!r} is no whole number")
    org_id, created_by = look.org_id, look.session.principal.token_id
    title = form.get("title", "").strip() or None
    job_id, task_id = (str(uuid5(NAMESPACE, f"{kind}:{form.get('nonce', '')}")) for kind in ("job", "task"))
    new_job = CreateJob(
        org_id=org_id,
        created_by=created_by,
        id=job_id,
        title=title,
        type=handler.type,
        priority=int(priority),
    )
    new_task = CreateTask(
        org_id=org_id,
        created_by=created_by,
        id=task_id,
        job_id=job_id,
        title=title,
        type=handler.type,
        parameters=json.dumps(parameters),
    )
    for command in (new_job, new_task):
        try:
            await look.store.apply(command)
        except Refused as refused:
            if refused.reason is not Reason.CONFLICT:  # else the same form came before
                raise
    return f"/jobs/{job_id}"


ACTIONS: Final = (
    set_state(
        "Cancel",
        "cancelled",
        "Its pending tasks are stopped at once; running ones are told why, stopped by their machines,"
        " and not run again.",
    ),
    set_state("Pause", "paused", "Nothing new of it is started. What runs goes on."),
    set_state("Resume", "active", "Its pending tasks are given to machines again."),
    Action("requeue", "/tasks/{id}/requeue", ask_requeue, requeue),
)
