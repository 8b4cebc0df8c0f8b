"""The pages of jobs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar
from urllib.parse import quote

from msgspec import Struct

from server.dashboard import words
from server.dashboard.costs import Line, added_up, costs_of
from server.dashboard.failures import by_kind
from server.dashboard.look import NEWEST_FIRST, PAGE_SIZE, Look, NotThere, Values, View, job_of
from server.dashboard.matrix import NARROW, WIDE, Layout, layout_of
from server.dashboard.orders import MADE, ORDERS, SLOWEST
from server.dashboard.paced import Answer
from server.dashboard.pictures import MOST_READ, Picture, Version
from server.dashboard.time_left import about, time_left
from server.store.outcomes import Failures, SlowTask
from server.store.queries import TASK_STATES, JobQuery, Page, TaskQuery
from server.store.records import JobRecord
from server.store.refusal import StoreFailed
from server.store.usage import UsageQuery
from server.times import to_ms

__all__ = ["PAGES", "PICTURE", "picture", "task_clicked"]

FoundT = TypeVar("FoundT")

MANY: Final = 5_000  # tasks or runs: from so many on they are not looked at each time
MOST_SLOW: Final = 10
MOST_DIGITS: Final = 7
LONGEST_TIME: Final = 40  # characters
PICTURE: Final = "/jobs/{id}/tasks/{order}/{width}/{tasks}/{at}"  # the address says which, and as of when
NOTHING_THERE: Final = "There is no task at this place of the picture"


async def jobs_page(look: Look) -> Values:
    """Show the jobs, the newest first."""
    status = look.asked("status", ("pending", "running", "stopped"))
    page = Page(number=look.page_number, size=PAGE_SIZE, sort=NEWEST_FIRST)
    query = JobQuery(org_id=look.org_id, statuses=(status,) if status else (), page=page)
    return {"title": "Jobs", "jobs": await look.store.jobs(query), "status": status, "page": page}


async def job_page(look: Look) -> Values:
    """Show a job with its tasks."""
    job = await job_of(look, look.id)
    show = look.asked("show", TASK_STATES)
    page = Page(number=look.page_number, size=PAGE_SIZE)
    query = TaskQuery(org_id=look.org_id, job_ids=(job.id,), state=show, page=page)
    tasks = [answer.task for answer in await look.store.tasks(query)]
    left = time_left(job, await look.store.pace(look.org_id, job.id))
    order = look.asked("order", ORDERS) or MADE
    failures, took, slowest = await asyncio.gather(
        failures_of(look, job), took_by(look, job), slowest_of(look, job) if order == SLOWEST else nothing()
    )
    return {
        "title": words.name_of(job.title, f"Job {job.id}"),
        "job": job,
        "tasks": tasks,
        "show": show,
        "page": page,
        "about": about,
        "left": left,
        "took": took,
        "currency": look.prices.currency if look.prices else None,
        "failures": failures,
        "kinds": by_kind(failures.value) if failures else [],
        "order": order,
        "orders": ORDERS,
        "pictures": pictures_of(look, job, order),
        "slowest": slowest,
        "is_counting": failures is None or took is None or (slowest is None and order == SLOWEST),
    }


async def nothing() -> None:
    """Look for nothing."""


class Shown(Struct, frozen=True):
    """A picture as it stands on the page."""

    address: str  # of the task at a place of it; with .png, of itself
    layout: Layout
    width: int


def pictures_of(look: Look, job: JobRecord, order: str) -> list[Shown]:
    """Return the picture of a job's tasks for screens, and the one for phones."""
    version = look.pictures.version(Picture(look.org_id, job.id, order), job.task_count, job.updated_at)
    return [
        Shown(
            PICTURE.format(
                id=quote(job.id, ""), order=order, width=width, tasks=version.tasks, at=version.changed_at
            ),
            layout_of(version.tasks, width),
            width,
        )
        for width in (WIDE, NARROW)
    ]


async def picture(look: Look) -> bytes:
    """Return the file of a picture."""
    await job_of(look, look.id)
    return await look.pictures.file(*asked_for(look))


async def task_clicked(look: Look) -> str:
    """Return the id of the task that lies where a picture was clicked."""
    await job_of(look, look.id)
    x, _, y = look.request.url.query.partition(",")
    if not (x.isdecimal() and y.isdecimal() and len(x) < MOST_DIGITS and len(y) < MOST_DIGITS):
        raise NotThere(NOTHING_THERE)
    place = await look.pictures.task_at(*asked_for(look), int(x), int(y))
    if place is None:
        raise NotThere(NOTHING_THERE)
    query = TaskQuery(org_id=look.org_id, job_ids=(look.id,), page=Page(number=place + 1, size=1))
    found = await look.store.tasks(query)
    if not found:
        raise NotThere(NOTHING_THERE)
    return found[0].task.id


def asked_for(look: Look) -> tuple[Picture, Version, int]:
    """Read the address of a picture: which, as of when, how wide."""
    told = look.request.path_params
    order, width, tasks, at = (str(told[name]) for name in ("order", "width", "tasks", "at"))
    if order not in ORDERS or width not in (str(WIDE), str(NARROW)) or len(at) > LONGEST_TIME:
        raise NotThere(NOTHING_THERE)
    if not tasks.isdecimal() or len(tasks) > MOST_DIGITS:
        raise NotThere(NOTHING_THERE)
    version = Version(min(int(tasks), MOST_READ), at)
    return Picture(look.org_id, look.id, order), version, int(width)


async def slowest_of(look: Look, job: JobRecord) -> Answer[list[SlowTask]] | None:
    """Return the slowest tasks of a job."""
    now_ms = to_ms(look.now)
    return await told(look, job, SLOWEST, lambda: look.store.slowest(look.org_id, job.id, now_ms, MOST_SLOW))


class Took(Struct, frozen=True):
    """What a job took and cost so far."""

    line: Line
    cut: int | None  # only so many of its runs are counted


async def took_by(look: Look, job: JobRecord) -> Answer[Took] | None:
    """Return what a job took and cost so far."""

    async def find() -> Took:
        query = UsageQuery(org_id=look.org_id, job_id=job.id)
        found = await look.store.usage(query)
        line = await asyncio.to_thread(lambda: added_up(costs_of(found.rows, look.prices)))
        return Took(line, query.most if found.looked_at >= query.most else None)

    return await told(look, job, "took", find, lambda took: took.line.runs >= MANY)


async def failures_of(look: Look, job: JobRecord) -> Answer[Failures] | None:
    """Return what the failed runs of a job say."""
    find = partial(look.store.failures, look.org_id, job.id)
    return await told(look, job, "failures", find, lambda found: found.looked_at >= MANY)


async def told(
    look: Look,
    job: JobRecord,
    name: str,
    find: Callable[[], Awaitable[FoundT]],
    is_much: Callable[[FoundT], bool] = lambda _: False,
) -> Answer[FoundT] | None:
    """Return what is found of a job; of a large one, what was found a little while ago, or nothing yet.

    Of a large one the database may give up, too: the rest of the page is shown all the same.
    """
    key = (name, look.org_id, job.id)
    if job.task_count >= MANY:
        with contextlib.suppress(StoreFailed):
            return await look.paced.soon(key, find)
        return None
    return await look.paced.ask(key, find, is_much)


PAGES: Final = (View("", "jobs.html", jobs_page), View("/jobs/{id}", "job.html", job_page))
