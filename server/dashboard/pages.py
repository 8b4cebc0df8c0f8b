"""What each page shows: from the store's records to the values of a template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Container, Sequence
from datetime import datetime
from secrets import token_urlsafe
from typing import Any, Final

from msgspec import Struct
from starlette.requests import Request

from server.dashboard import words
from server.dashboard.fleet import Handler, handlers_of, machines_of
from server.dashboard.forms import fields_of
from server.dashboard.runs import plots_of, run_view, state_of
from server.dashboard.session import Session
from server.store.queries import JobQuery, Page, RunQuery, Sort, TaskQuery
from server.store.records import JobRecord, RunRecord, TaskRecord
from server.store.store import Store

__all__ = ["PAGES", "Look", "NotThere", "View", "handler_named", "job_of", "task_of"]

PAGE_SIZE: Final = 100
RECENT_RUNS: Final = 500  # how far the fleet's memory reaches
MOST_LIVE: Final = 2000
NEWEST_FIRST: Final = Sort("createdAt", descending=True)
LAST_CHANGED_FIRST: Final = Sort("updatedAt", descending=True)
TASK_FILTERS: Final = {  # word in the address -> (status, result)
    "failed": ((), ("Failed",)),
    "running": (("running",), ()),
    "pending": (("pending",), ()),
    "succeeded": ((), ("Success",)),
}


class NotThere(Exception):  # noqa: N818 - says what it is
    """There is no such thing in the organisation of who looks."""


class Look(Struct, frozen=True, kw_only=True):
    """One look at a page: who looks, at what, when."""

    session: Session
    store: Store
    request: Request
    now: datetime

    @property
    def org_id(self) -> str:
        """The organisation of who looks."""
        return self.session.principal.org_id

    @property
    def id(self) -> str:
        """The id in the address."""
        return str(self.request.path_params["id"])

    def asked(self, name: str, allowed: Container[str]) -> str | None:
        """Return a choice from the query; anything else is none."""
        value = self.request.query_params.get(name)
        return value if value is not None and value in allowed else None

    @property
    def page_number(self) -> int:
        """The page of a list that is asked for."""
        text = self.request.query_params.get("page", "1")
        return max(1, int(text)) if text.isdecimal() and len(text) < 8 else 1


Values = dict[str, Any]


class View(Struct, frozen=True):
    """A page: its address, its template, what it shows."""

    path: str
    template: str
    build: Callable[[Look], Awaitable[Values]]


async def jobs_page(look: Look) -> Values:
    """Show the jobs, the newest first."""
    status = look.asked("status", ("pending", "running", "stopped"))
    page = Page(number=look.page_number, size=PAGE_SIZE, sort=NEWEST_FIRST)
    query = JobQuery(org_id=look.org_id, statuses=(status,) if status else (), page=page)
    return {"title": "Jobs", "jobs": await look.store.jobs(query), "status": status, "page": page}


async def job_page(look: Look) -> Values:
    """Show a job with its tasks."""
    job = await job_of(look, look.id)
    show = look.asked("show", TASK_FILTERS)
    statuses, results = TASK_FILTERS[show] if show else ((), ())
    page = Page(number=look.page_number, size=PAGE_SIZE)
    query = TaskQuery(org_id=look.org_id, job_ids=(job.id,), statuses=statuses, results=results, page=page)
    tasks = [answer.task for answer in await look.store.tasks(query)]
    failures: list[tuple[str, int, RunRecord]] = []
    if job.task_result_failures:
        failures = grouped(await recent_failures(look, job.id))
    return {
        "title": words.name_of(job.title, f"Job {job.id}"),
        "job": job,
        "tasks": tasks,
        "show": show,
        "page": page,
        "failures": failures,
    }


async def recent_failures(look: Look, job_id: str) -> list[RunRecord]:
    """Return the failed ones among the newest runs of a job."""
    page = Page(size=RECENT_RUNS, sort=NEWEST_FIRST)
    answers = await look.store.runs(
        RunQuery(org_id=look.org_id, job_ids=(job_id,), has_results=False, page=page)
    )
    return [answer.run for answer in answers if state_of(answer.run) == "failed"]


def grouped(runs: Sequence[RunRecord]) -> list[tuple[str, int, RunRecord]]:
    """Return what failed runs say in their first lines, how many say it, and the newest of them."""
    lines = [(run.error or run.result_message or "no reason told").partition("\n")[0] for run in runs]
    newest = dict(zip(reversed(lines), reversed(runs), strict=True))
    return [(line, count, newest[line]) for line, count in Counter(lines).most_common(20)]


async def task_page(look: Look) -> Values:
    """Show a task with its runs."""
    task = await task_of(look, look.id)
    query = RunQuery(org_id=look.org_id, task_ids=(task.id,), page=Page(size=PAGE_SIZE, sort=NEWEST_FIRST))
    runs = [run_view(answer.run, look.now) for answer in await look.store.runs(query)]
    job = await job_of(look, task.job_id)
    return {"title": words.name_of(task.title, f"Task {task.id}"), "task": task, "job": job, "runs": runs}


async def run_page(look: Look) -> Values:
    """Show a run: what it ran on, what it consumed, what it said, how it ended."""
    answer = await look.store.run(look.org_id, look.id)
    if answer is None:
        raise NotThere(f"There is no run {look.id}")
    run = answer.run
    task = await look.store.task(look.org_id, run.task_id)
    return {
        "title": f"Run {run.id}",
        "view": run_view(run, look.now),
        "task": task.task if task else None,
        "plots": plots_of(run, await look.store.samples(look.org_id, run.id)),
    }


async def machines_page(look: Look) -> Values:
    """Show the machines: what runs there, why one takes nothing, and which fell silent."""
    newest = Page(size=RECENT_RUNS, sort=NEWEST_FIRST)
    recent = RunQuery(org_id=look.org_id, has_results=False, page=newest)
    live = RunQuery(org_id=look.org_id, has_results=False, is_live=True, page=Page(size=MOST_LIVE))
    runs = [answer.run for query in (live, recent) for answer in await look.store.runs(query)]
    machines = machines_of(await look.store.agents(look.org_id), runs, look.now)
    return {"title": "Machines", "machines": machines, "memory": RECENT_RUNS}


async def handlers_page(look: Look) -> Values:
    """Show what can be submitted: the task types that agents take."""
    return {"title": "Task types", "handlers": await handlers(look)}


async def handler_page(look: Look) -> Values:
    """Show one task type, with a form that submits a task."""
    handler = await handler_named(look, look.id)
    return {
        "title": f"Submit {handler.type}",
        "handler": handler,
        "fields": fields_of(handler.schema),
        "schema": handler.schema,
        "filled": {},
        "problem": None,
        "nonce": token_urlsafe(16),
    }


async def handlers(look: Look) -> list[Handler]:
    """Return the task types that agents take."""
    return handlers_of(await look.store.agents(look.org_id), look.now)


async def handler_named(look: Look, type_: str) -> Handler:
    """Return one task type."""
    for handler in await handlers(look):
        if handler.type == type_:
            return handler
    raise NotThere(f"No agent that was heard of lately takes tasks of type {type_}")


async def job_of(look: Look, job_id: str) -> JobRecord:
    """Return a job of the organisation of who looks."""
    job = await look.store.job(look.org_id, job_id)
    if job is None:
        raise NotThere(f"There is no job {job_id}")
    return job


async def task_of(look: Look, task_id: str) -> TaskRecord:
    """Return a task of the organisation of who looks."""
    answer = await look.store.task(look.org_id, task_id)
    if answer is None:
        raise NotThere(f"There is no task {task_id}")
    return answer.task


PAGES: Final = (
    View("", "jobs.html", jobs_page),
    View("/jobs/{id}", "job.html", job_page),
    View("/tasks/{id}", "task.html", task_page),
    View("/runs/{id}", "run.html", run_page),
    View("/machines", "machines.html", machines_page),
    View("/handlers", "handlers.html", handlers_page),
    View("/handlers/{id:path}", "handler.html", handler_page),
)
