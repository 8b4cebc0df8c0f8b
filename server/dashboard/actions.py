"""What can be done from a page, each after a question that says what it will do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from server.dashboard.pages import Look, NotThere, job_of
from server.store.commands import CreateRun, RunFields, UpdateJob
from server.store.queries import Page, RunQuery, Sort
from worker.api.ids import requeue_run_id

__all__ = ["ACTIONS", "Action", "Question"]


class Question(Struct, frozen=True):
    """What is asked before, and where the answer leads back to."""

    title: str
    text: str
    button: str
    back: str


class Action(Struct, frozen=True):
    """One thing that can be done to one kind of thing."""

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

    return Action(f"/jobs/{{id}}/{verb.lower()}", ask, do)


async def ask_requeue(look: Look) -> Question:
    """Ask whether a task shall run again."""
    answer = await look.store.task(look.org_id, look.id)
    if answer is None:
        raise NotThere(f"There is no task {look.id}")
    named = f"“{answer.task.title}”" if answer.task.title else answer.task.id
    text = (
        "It becomes pending, and the next free machine runs it, from its last checkpoint where it saved one."
        " Its runs so far stay as they are."
    )
    return Question(f"Run task {named} again?", text, "Run it again", f"/tasks/{look.id}")


async def requeue(look: Look) -> None:
    """Make a stopped task pending; asked twice, it is done once."""
    page = Page(size=1, sort=Sort("createdAt", descending=True))
    last = await look.store.runs(RunQuery(org_id=look.org_id, task_ids=(look.id,), page=page))
    if not last:
        raise NotThere(f"Task {look.id} has never run: it is pending already")
    run_id = requeue_run_id(last[0].run.id)
    created_by = look.session.principal.token_id
    await look.store.apply(
        CreateRun(org_id=look.org_id, created_by=created_by, task_id=look.id, id=run_id, fields=RunFields())
    )


ACTIONS: Final = (
    set_state(
        "Cancel",
        "cancelled",
        "Its pending tasks are stopped at once; running ones are told why, stopped by their machines,"
        " and not run again.",
    ),
    set_state("Pause", "paused", "Nothing new of it is started. What runs goes on."),
    set_state("Resume", "active", "Its pending tasks are given to machines again."),
    Action("/tasks/{id}/requeue", ask_requeue, requeue),
)
