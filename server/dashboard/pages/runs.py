"""The pages of a task and of a run."""

from __future__ import annotations

from typing import Final

from server.dashboard import words
from server.dashboard.attempts import attempts_of
from server.dashboard.files import File, Stored, files_of
from server.dashboard.look import NEWEST_FIRST, PAGE_SIZE, Look, NotThere, Values, View, job_of, task_of
from server.dashboard.runs import plots_of, run_view
from server.dashboard.shapes import object_of
from server.store.queries import Page, RunQuery
from server.store.records import RunRecord

__all__ = ["PAGES", "stored_file"]

MOST_DIGITS: Final = 6
NEWEST: Final = Page(size=PAGE_SIZE, sort=NEWEST_FIRST)


async def task_page(look: Look) -> Values:
    """Show a task with its runs."""
    task = await task_of(look, look.id)
    query = RunQuery(org_id=look.org_id, task_ids=(task.id,), page=NEWEST)
    runs = [run_view(answer.run, look.now) for answer in await look.store.runs(query)]
    job = await job_of(look, task.job_id)
    return {"title": words.name_of(task.title, f"Task {task.id}"), "task": task, "job": job, "runs": runs}


async def run_page(look: Look) -> Values:
    """Show a run: what it ran on, what it consumed, what it said, how it ended."""
    run = await run_of(look)
    task = await look.store.task(look.org_id, run.task_id)
    query = RunQuery(org_id=look.org_id, task_ids=(run.task_id,), has_results=False, page=NEWEST)
    beside = [answer.run for answer in await look.store.runs(query)]
    return {
        "title": f"Run {run.id}",
        "view": run_view(run, look.now, serves_files=look.serves_files),
        "task": task.task if task else None,
        "attempts": attempts_of(run, beside, look.now, is_whole=len(beside) < NEWEST.size),
        "plots": plots_of(run, await look.store.samples(look.org_id, run.id)),
    }


async def run_of(look: Look) -> RunRecord:
    """Return the run in the address."""
    answer = await look.store.run(look.org_id, look.id)
    if answer is None:
        raise NotThere(f"There is no run {look.id}")
    return answer.run


async def stored_file(look: Look, index: str) -> tuple[File, Stored]:
    """Return a file of a run that lies in a folder, by its place in `results.files`."""
    run = await run_of(look)
    files = files_of(run.id, object_of(run.results), serves_files=look.serves_files)
    at = int(index) if index.isascii() and index.isdecimal() and len(index) <= MOST_DIGITS else -1
    for file in files:
        if file.index == at and file.stored is not None:
            return file, file.stored
    raise NotThere("There is no such file of this run in a folder that is shown here")


PAGES: Final = (View("/tasks/{id}", "task.html", task_page), View("/runs/{id}", "run.html", run_page))
