"""The pages of jobs."""

from __future__ import annotations

from typing import Final

from server.dashboard import words
from server.dashboard.failing import by_kind
from server.dashboard.left import about, time_left
from server.dashboard.look import NEWEST_FIRST, PAGE_SIZE, Look, Values, View, job_of
from server.dashboard.paced import Answer
from server.store.outcomes import Failures
from server.store.queries import JobQuery, Page, TaskQuery
from server.store.records import JobRecord

__all__ = ["PAGES"]

MANY_FAILURES: Final = 5_000  # from so many on they are not looked at each time
TASK_FILTERS: Final = {  # word in the address -> (status, result)
    "failed": ((), ("Failed",)),
    "running": (("running",), ()),
    "pending": (("pending",), ()),
    "succeeded": ((), ("Success",)),
}


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
    failures = await failures_of(look, job)
    return {
        "title": words.name_of(job.title, f"Job {job.id}"),
        "job": job,
        "tasks": tasks,
        "show": show,
        "page": page,
        "about": about,
        "left": time_left(job, await look.store.pace(look.org_id, job.id)),
        "failures": failures,
        "kinds": by_kind(failures.value),
    }


async def failures_of(look: Look, job: JobRecord) -> Answer[Failures]:
    """Return what the failed runs of a job say; of very many, what they said a little while ago."""
    key = ("failures", look.org_id, job.id)
    return await look.paced.ask(
        key, lambda: look.store.failures(look.org_id, job.id), lambda found: found.looked_at >= MANY_FAILURES
    )


PAGES: Final = (View("", "jobs.html", jobs_page), View("/jobs/{id}", "job.html", job_page))
