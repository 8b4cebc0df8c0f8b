"""Lists: from a query to a statement, its order from an allow-list."""

from __future__ import annotations

from typing import Final

import msgspec

from server.store.queries import JobQuery, Page, ReportQuery, RunQuery, Sort, TaskQuery
from server.store.sqlite.rows import REPORT, RUN, TASK, jobs_with_counters
from worker.api.wire import RunStatus

__all__ = [
    "DEPTHS",
    "JOB_ORDER",
    "REPORT_ORDER",
    "RUNNING",
    "RUN_ORDER",
    "TASK_ORDER",
    "Statement",
    "may_take_long",
    "select_jobs",
    "select_reports",
    "select_runs",
    "select_tasks",
]

Statement = tuple[str, list[object]]

# When a job or one of its tasks was last written.
JOB_UPDATED: Final = (
    "max(j.updated_at, coalesce((SELECT max(u.updated_at) FROM job_counters u"
    " WHERE u.org_id = j.org_id AND u.job_id = j.id), 0))"
)

# Fields of the wire that lists can be sorted by -> what they are in the statement.
JOB_ORDER: Final = {
    "createdAt": "j.created_at",
    "updatedAt": JOB_UPDATED,
    "priority": "j.priority",
    "title": "j.title",
    "type": "j.type",
    "status": "j.status",
    "schedulerState": "j.scheduler_state",
    "id": "j.id",
}
TASK_ORDER: Final = {
    "createdAt": "t.created_at",
    "updatedAt": "t.updated_at",
    "priority": "t.priority",
    "title": "t.title",
    "type": "t.type",
    "runStatus": "t.run_status",
    "id": "t.id",
}
RUN_ORDER: Final = {
    "createdAt": "r.created_at",
    "updatedAt": "r.updated_at",
    "startedAt": "r.started_at",
    "stoppedAt": "r.stopped_at",
    "progress": "r.progress",
    "id": "r.id",
}
REPORT_ORDER: Final = {
    "createdAt": "r.created_at",
    "startedAt": "r.started_at",
    "stoppedAt": "r.stopped_at",
    "progress": "r.progress",
}
BY_CREATION: Final = Sort("createdAt")
NEWEST_FIRST: Final = Sort("createdAt", descending=True)

PENDING: Final = ("pending",)
INDEXED: Final = ((), ("running",))  # statuses that tasks of all jobs are found by
MOST_MERGED: Final = 32  # types, each with a walk of its own along the index

# The inner part follows the index without a sort; the outer one adds organisations together.
DEPTHS: Final = (
    "SELECT type, sum(tasks) AS tasks, min(oldest) AS oldest FROM"
    " (SELECT type, count(*) AS tasks, min(created_at) AS oldest"
    " FROM tasks t INDEXED BY tasks_claimable_by_type"
    " WHERE t.run_status = 'pending' AND t.job_is_active = 1 GROUP BY org_id, type) GROUP BY type"
)
RUNNING: Final = (
    "SELECT count(*) AS tasks FROM tasks t INDEXED BY tasks_running WHERE t.run_status = 'running'"
)

AnyQuery = JobQuery | TaskQuery | RunQuery | ReportQuery


LONG_OFFSET: Final = 3_000  # rows that are stepped over; a few milliseconds


def may_take_long(query: AnyQuery) -> bool:
    """Tell whether a page needs more than a short walk along an index."""
    if query.page.offset > LONG_OFFSET or query.page.sort not in (None, BY_CREATION, NEWEST_FIRST):
        return True
    if isinstance(query, RunQuery):
        return len(query.job_ids) > 1
    return isinstance(query, TaskQuery) and _walks_past_others(query)


def _walks_past_others(query: TaskQuery) -> bool:
    """Tell whether no index leads to these tasks only, so that any number of others may lie between."""
    if query.statuses == PENDING and query.page.sort is None:
        return bool(query.job_ids) or len(query.types) > MOST_MERGED
    return (
        bool(query.types or query.results)
        or len(query.job_ids) > 1
        or not (query.job_ids or query.statuses in INDEXED)
    )


def select_jobs(query: JobQuery) -> Statement:
    """Return the statement for a page of jobs."""
    where, values = _where("j", query.org_id, {"status": query.statuses})
    order = _order(JOB_ORDER, query.page, "j")
    page, limits = _limit(query.page)
    inner = f"SELECT j.* FROM jobs j WHERE {where} ORDER BY {order} {page}"  # noqa: S608
    return f"{jobs_with_counters(inner)} ORDER BY {order}", values + limits


def select_tasks(query: TaskQuery, closing: frozenset[str] = frozenset()) -> Statement:
    """Return the statement for a page of tasks.

    Args:
        query: which ones.
        closing: jobs whose pending tasks may not be marked yet as not claimable.
    """
    page, limits = _limit(query.page)
    if query.statuses != PENDING or query.page.sort is not None:
        tasks, values = _tasks(query, closing)
        return f"{tasks} ORDER BY {_order(TASK_ORDER, query.page, 't')} {page}", values + limits
    # Each type has its own walk along the index, and they are merged: with `IN`, a poll for rare types
    # would step over every task of the others.
    types = [(task_type,) for task_type in query.types] if len(query.types) <= MOST_MERGED else [query.types]
    walks = [_tasks(msgspec.structs.replace(query, types=types_), closing) for types_ in types or [()]]
    merged = " UNION ALL ".join(tasks for tasks, _ in walks)
    values = [value for _, values in walks for value in values]
    return f"{merged} ORDER BY priority DESC, created_at, id {page}", values + limits


def _tasks(query: TaskQuery, closing: frozenset[str]) -> Statement:
    filters = {"job_id": query.job_ids, "type": query.types, "run_result": query.results}
    where, values = _where("t", query.org_id, filters)
    if query.hidden:
        where += " AND t.id NOT IN (SELECT value FROM json_each(?))"
        values.append(msgspec.json.encode(query.hidden).decode())
    if "pending" in query.statuses and closing:
        where += f" AND NOT (t.run_status = 'pending' AND t.job_id IN ({CLOSING}))"
        values += [query.org_id, msgspec.json.encode(closing).decode()]
    if query.statuses:
        where = f"{where} AND {_status(query.statuses)}"
    return f"{TASK} WHERE {where}", values


def select_runs(query: RunQuery) -> Statement:
    """Return the statement for a page of runs."""
    where, values = _where("r", query.org_id, {"job_id": query.job_ids, "task_id": query.task_ids})
    if query.is_live:
        where += " AND r.started_at IS NOT NULL AND r.stopped_at IS NULL"
    page, limits = _limit(query.page)
    return f"{RUN} WHERE {where} ORDER BY {_order(RUN_ORDER, query.page, 'r')} {page}", values + limits


def select_reports(query: ReportQuery) -> Statement:
    """Return the statement for a page of reports."""
    order = _order(REPORT_ORDER, query.page, "r")
    page, limits = _limit(query.page)
    where = "r.org_id = ? AND r.started_at IS NOT NULL"
    return f"{REPORT} WHERE {where} ORDER BY {order} {page}", [query.org_id, *limits]


# The row of the job decides: it may be active again.
CLOSING: Final = (
    "SELECT id FROM jobs WHERE org_id = ? AND scheduler_state <> 'active'"
    " AND id IN (SELECT value FROM json_each(?))"
)
# Written exactly as in the partial indexes.
CLAIMABLE: Final = "(t.run_status = 'pending' AND t.job_is_active = 1)"


def _status(statuses: tuple[str, ...]) -> str:
    # Literals, not parameters: a partial index is used only where SQLite can see that it fits.
    terms = [CLAIMABLE if s == "pending" else f"t.run_status = '{RunStatus(s).value}'" for s in statuses]
    return f"({' OR '.join(terms)})"


def _where(alias: str, org_id: str, filters: dict[str, tuple[str, ...]]) -> Statement:
    terms, values = [f"{alias}.org_id = ?"], list[object]([org_id])
    for column, allowed in filters.items():
        if len(allowed) == 1:
            terms.append(f"{alias}.{column} = ?")  # keeps the order of the index
        elif allowed:
            terms.append(f"{alias}.{column} IN ({_marks(allowed)})")
        values += allowed
    return " AND ".join(terms), values


def _marks(values: list[str] | tuple[str, ...]) -> str:
    return ", ".join("?" * len(values))


def _order(allowed: dict[str, str], page: Page, alias: str) -> str:
    sort = page.sort or BY_CREATION
    direction = "DESC" if sort.descending else "ASC"
    ties = ("created_at", "id") if sort.field != "createdAt" else ("id",)
    return ", ".join(
        [f"{allowed[sort.field]} {direction}", *(f"{alias}.{column} {direction}" for column in ties)]
    )


def _limit(page: Page) -> Statement:
    return "LIMIT ? OFFSET ?", [page.size, page.offset]
