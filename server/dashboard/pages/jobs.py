"""The pages of jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from server.dashboard import words
from server.dashboard.look import NEWEST_FIRST, PAGE_SIZE, Look, Values, View, job_of
from server.dashboard.runs import state_of
from server.store.queries import JobQuery, Page, RunQuery, TaskQuery
from server.store.records import RunRecord

__all__ = ["PAGES"]

RECENT_RUNS: Final = 500  # among which failures are grouped
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


PAGES: Final = (View("", "jobs.html", jobs_page), View("/jobs/{id}", "job.html", job_page))
