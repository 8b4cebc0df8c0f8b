"""Which pages may take long, and what is said of one that took too long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from server.store.queries import JobQuery, ReportQuery, RunQuery, Sort, TaskQuery
from server.store.refusal import TookTooLong

__all__ = [
    "BY_CREATION",
    "MOST_MERGED",
    "PENDING",
    "AnyQuery",
    "is_by_status",
    "may_take_long",
    "named",
]

BY_CREATION: Final = Sort("createdAt")
NEWEST_FIRST: Final = Sort("createdAt", descending=True)
PENDING: Final = ("pending",)
INDEXED: Final = ((), ("running",))  # statuses that tasks of all jobs are found by
MOST_MERGED: Final = 32  # types, each with a walk of its own along the index
LONG_OFFSET: Final = 3_000  # rows that are stepped over; a few milliseconds

AnyQuery = JobQuery | TaskQuery | RunQuery | ReportQuery


def may_take_long(query: AnyQuery) -> bool:
    """Tell whether a page needs more than a short walk along an index."""
    is_ordered = query.page.sort in (None, BY_CREATION, NEWEST_FIRST) or is_by_status(query)
    if query.page.offset > LONG_OFFSET or not is_ordered:
        return True
    if isinstance(query, RunQuery):
        return len(query.job_ids) > 1
    return isinstance(query, TaskQuery) and walks_past_others(query)


@contextmanager
def named(query: AnyQuery) -> Iterator[None]:
    """Have a page that takes too long say what it was sorted by, and what is quicker."""
    try:
        yield
    except TookTooLong as exc:
        sort = query.page.sort or BY_CREATION
        raise TookTooLong(
            f"A list sorted by {sort.field} took too long; sort by createdAt, or ask for fewer"
        ) from exc


def is_by_status(query: AnyQuery) -> bool:
    """Tell whether tasks of one job are wanted by status: an index has those of each in order."""
    if not isinstance(query, TaskQuery) or query.page.sort is None:
        return False
    return query.page.sort.field == "runStatus" and len(query.job_ids) == 1 and not query.state


def walks_past_others(query: TaskQuery) -> bool:
    """Tell whether no index leads to these tasks only, so that any number of others may lie between."""
    if query.statuses == PENDING and query.page.sort is None:
        return bool(query.job_ids) or len(query.types) > MOST_MERGED
    return (
        bool(query.types or query.results or query.state)
        or len(query.job_ids) > 1
        or not (query.job_ids or query.statuses in INDEXED)
    )
