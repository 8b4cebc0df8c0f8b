"""Queries: which records to list, in which order, which page."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

__all__ = [
    "JOB_SORTS",
    "REPORT_SORTS",
    "RUN_SORTS",
    "TASK_SORTS",
    "TASK_STATES",
    "JobQuery",
    "Page",
    "Place",
    "ReportQuery",
    "RunQuery",
    "Sort",
    "TaskQuery",
]

# Fields of the wire that lists can be sorted by.
JOB_SORTS: Final = ("createdAt", "updatedAt", "priority", "title", "type", "status", "schedulerState", "id")
TASK_SORTS: Final = ("createdAt", "updatedAt", "priority", "title", "type", "runStatus", "id")
RUN_SORTS: Final = ("createdAt", "updatedAt", "startedAt", "stoppedAt", "progress", "id")
REPORT_SORTS: Final = ("createdAt", "startedAt", "stoppedAt", "progress")


# Where a task stands, whatever its job's state: as the counters of its job count it.
TASK_STATES: Final = ("pending", "running", "succeeded", "failed")


class Sort(Struct, frozen=True):
    """An order by one field of the wire; ties go by `createdAt`, then `id`."""

    field: str
    descending: bool = False


class Place(Struct, frozen=True):
    """A record's place in a list that is ordered by priority or creation."""

    created_at: int  # milliseconds since 1970
    id: str
    priority: int = 0  # of a task


class Page(Struct, frozen=True, kw_only=True):
    """A part of a list: `number` counts from 1."""

    number: int = 1
    size: int = 30
    sort: Sort | None = None  # None: the list's own order
    after: Place | None = None  # where it begins, if that is known; its number does not count then

    @property
    def offset(self) -> int:
        """Return how many records lie before the page, and are to be stepped over."""
        return 0 if self.after is not None else (self.number - 1) * self.size

    @property
    def has_places(self) -> bool:
        """Tell whether the order is one in which a page can begin after a place."""
        return self.sort is None or self.sort.field == "createdAt"


class JobQuery(Struct, frozen=True, kw_only=True):
    """Jobs of an organisation; an empty filter lets everything through."""

    org_id: str
    statuses: tuple[str, ...] = ()
    page: Page = Page()


class TaskQuery(Struct, frozen=True, kw_only=True):
    """Tasks of an organisation. A pending task of an inactive job does not match ``pending``.

    Only pending ones, and no sort asked for: by priority (highest first), `createdAt`, `id`.
    """

    org_id: str
    job_ids: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    results: tuple[str, ...] = ()  # of its most recent run
    state: str | None = None  # one of `TASK_STATES`
    hidden: frozenset[str] = frozenset()  # ids that are left out
    page: Page = Page()


class RunQuery(Struct, frozen=True, kw_only=True):
    """Runs of an organisation."""

    org_id: str
    job_ids: tuple[str, ...] = ()
    task_ids: tuple[str, ...] = ()
    has_results: bool = True  # they may be large, and lists for people do not show them
    is_live: bool = False  # only those that have started and not stopped
    page: Page = Page()


class ReportQuery(Struct, frozen=True, kw_only=True):
    """Started runs of an organisation."""

    org_id: str
    page: Page = Page()
