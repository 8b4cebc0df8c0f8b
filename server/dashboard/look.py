"""One look at a page: who looks, at what, when; and what it finds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container
from datetime import datetime
from typing import Any, Final

from msgspec import Struct
from starlette.requests import Request

from server.dashboard.paced import Paced
from server.dashboard.pictures import Pictures
from server.dashboard.session import Session
from server.prices import Prices
from server.store.queries import Sort
from server.store.records import JobRecord, TaskRecord
from server.store.store import Store

__all__ = ["NEWEST_FIRST", "PAGE_SIZE", "Look", "NotThere", "Values", "View", "job_of", "task_of"]

PAGE_SIZE: Final = 100
NEWEST_FIRST: Final = Sort("createdAt", descending=True)


class NotThere(Exception):  # noqa: N818 - says what it is
    """There is no such thing in the organisation of who looks."""


class Look(Struct, frozen=True, kw_only=True):
    """One look at a page: who looks, at what, when."""

    session: Session
    store: Store
    request: Request
    now: datetime
    serves_files: bool = False  # there are folders whose files these pages serve
    paced: Paced  # what is slow to find
    pictures: Pictures  # of jobs' tasks
    prices: Prices | None = None

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
