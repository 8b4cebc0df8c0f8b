"""Lists: from a query to a statement, its order from an allow-list."""

from __future__ import annotations

from typing import Final

import msgspec

from server.store.queries import JobQuery, Page, ReportQuery, RunQuery, TaskQuery
from server.store.sql.dialect import Dialect
from server.store.sql.long_reads import BY_CREATION, MOST_MERGED, PENDING, is_by_status
from server.store.sql.rows import REPORT, TASK, select_run
from worker.api.wire import RunStatus

__all__ = [
    "HIDDEN",
    "JOB_ORDER",
    "REPORT_ORDER",
    "RUN_ORDER",
    "TASK_ORDER",
    "Statement",
    "count_pending",
    "count_running",
    "select_jobs",
    "select_reports",
    "select_runs",
    "select_tasks",
]

Statement = tuple[str, list[object]]

# Fields of the wire that lists can be sorted by -> what they are in the statement.
JOB_ORDER: Final = {
    "createdAt": "j.created_at",
    "updatedAt": "",  # the dialect's
    "priority": "j.priority",
    "title": "j.title",
    "type": "j.type",
    "status": "",  # the dialect's
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
MAY_BE_NULL: Final = frozenset({"title", "type", "startedAt", "stoppedAt", "progress"})

STATES: Final = {  # `queries.TASK_STATES`, by the index of a job's tasks by status
    "pending": "t.run_status = 'pending'",
    "running": "t.run_status = 'running'",
    "succeeded": "t.run_status = 'stopped' AND t.run_result = 'Success'",
    "failed": "t.run_status = 'stopped' AND coalesce(t.run_result, '') <> 'Success'",
}
STATUS_OF_STATE: Final = {
    "pending": "pending",
    "running": "running",
    "succeeded": "stopped",
    "failed": "stopped",
}
BY_PRIORITY: Final = "priority DESC, created_at, id"
ALL_STATUSES: Final = ("pending", "running", "stopped")


def select_jobs(dialect: Dialect, query: JobQuery) -> Statement:
    """Return the statement for a page of jobs."""
    where, values = _where("j", query.org_id, {})
    where += " AND j.deleted_at IS NULL"
    where, values = _after(where, values, query.page, "j")
    if query.statuses:
        where += f" AND {dialect.job_status} IN ({_marks(query.statuses)})"
        values += query.statuses
    terms = {**JOB_ORDER, "updatedAt": dialect.job_updated, "status": dialect.job_status}
    page, limits = _limit(query.page)
    return dialect.jobs(where, _order(dialect, terms, query.page, "j"), page), values + limits


def select_tasks(dialect: Dialect, query: TaskQuery, closing: frozenset[str] = frozenset()) -> Statement:
    """Return the statement for a page of tasks.

    Args:
        dialect: of which database.
        query: which ones.
        closing: jobs whose pending tasks may not be marked yet as not claimable.
    """
    page, limits = _limit(query.page)
    if is_by_status(query) and not dialect.has_tasks_by_status:
        return _by_status(dialect, query, closing)
    if query.statuses != PENDING or query.page.sort is not None:
        tasks, values = _after(*_tasks(dialect, query, closing), query.page, "t")
        return f"{tasks} ORDER BY {_order(dialect, TASK_ORDER, query.page, 't')} {page}", values + limits
    # Each type has its own walk along the index, and they are merged: with `IN`, a poll for rare types
    # would step over every task of the others.
    types = [(task_type,) for task_type in query.types] if len(query.types) <= MOST_MERGED else [query.types]
    walks = [
        walk
        for types_ in types or [()]
        for walk in _below(_tasks(dialect, msgspec.structs.replace(query, types=types_), closing), query.page)
    ]
    depth = query.page.offset + query.page.size
    merged = " UNION ALL ".join(dialect.walk(tasks, BY_PRIORITY, depth) for tasks, _ in walks)
    values = [value for _, values in walks for value in values]
    return f"{merged} ORDER BY {BY_PRIORITY} {page}", values + limits


def _by_status(dialect: Dialect, query: TaskQuery, closing: frozenset[str]) -> Statement:
    """Return the statement for tasks of one job by status: a walk for each, one after the other."""
    direction = "DESC" if query.page.sort is not None and query.page.sort.descending else "ASC"
    order = ", ".join(f"{column} {direction}" for column in ("run_status", "created_at", "id"))
    page, limits = _limit(query.page)
    walks, values = [], list[object]()
    for status in dict.fromkeys(query.statuses or ALL_STATUSES):
        tasks, given = _tasks(dialect, query, closing, dialect.of_job(status))
        walks.append(f"{tasks} AND t.run_status = '{RunStatus(status).value}'")
        values += given
    return f"{' UNION ALL '.join(walks)} ORDER BY {order} {page}", values + limits


def _below(tasks: Statement, page: Page) -> list[Statement]:
    """Return the walks that begin after a place: the rest of its priority, and all lower ones.

    Each of them is a range of the index; together in one condition they would not be.
    """
    if page.after is None:
        return [tasks]
    sql, values = tasks
    place = page.after
    return [
        (
            f"{sql} AND t.priority = ? AND (t.created_at, t.id) > (?, ?)",
            [*values, place.priority, place.created_at, place.id],
        ),
        (f"{sql} AND t.priority < ?", [*values, place.priority]),
    ]


def _after(sql: str, values: list[object], page: Page, alias: str) -> Statement:
    """Return a condition or a statement that begins after the page's place, in an order by creation."""
    if page.after is None:
        return sql, values
    sign = "<" if page.sort is not None and page.sort.descending else ">"
    return (
        f"{sql} AND ({alias}.created_at, {alias}.id) {sign} (?, ?)",
        [*values, page.after.created_at, page.after.id],
    )


def _tasks(
    dialect: Dialect, query: TaskQuery, closing: frozenset[str], index: str | None = None
) -> Statement:
    filters = {"job_id": query.job_ids, "type": query.types, "run_result": query.results}
    where, values = _where("t", query.org_id, filters)
    if query.hidden:
        where += f" AND t.id NOT IN {dialect.in_list('?')}"
        values.append(dialect.as_list(query.hidden))
    if "pending" in query.statuses and (condition := dialect.not_closing(query.org_id, closing)):
        where += f" AND {condition[0]}"
        values += condition[1]
    if query.statuses:
        where = f"{where} AND {_status(dialect, query.statuses)}"
    if query.state:
        where += f" AND {STATES[query.state]}"
    return f"{TASK} {_index(dialect, query) if index is None else index} WHERE {where}", values


def _index(dialect: Dialect, query: TaskQuery) -> str:
    """Return what leads to tasks of one job in one status; by priority they are walked with all others."""
    is_by_priority = query.statuses == PENDING and query.page.sort is None
    statuses = (STATUS_OF_STATE[query.state],) if query.state else query.statuses
    if is_by_priority or len(query.job_ids) != 1 or len(statuses) != 1:
        return ""
    return dialect.of_job(statuses[0])


def select_runs(dialect: Dialect, query: RunQuery) -> Statement:
    """Return the statement for a page of runs."""
    where, values = _where("r", query.org_id, {"job_id": query.job_ids, "task_id": query.task_ids})
    if query.is_live:
        where += " AND r.started_at IS NOT NULL AND r.stopped_at IS NULL"
    where, values = _after(where, values, query.page, "r")
    page, limits = _limit(query.page)
    is_all_live = query.is_live and not query.job_ids and not query.task_ids
    along = dialect.live_runs() if is_all_live else ""  # newer SQLite takes the index of ended runs, too
    run = select_run(dialect, has_results=query.has_results, along=along)
    return (
        f"{run} WHERE {where} ORDER BY {_order(dialect, RUN_ORDER, query.page, 'r')} {page}",
        values + limits,
    )


def select_reports(dialect: Dialect, query: ReportQuery) -> Statement:
    """Return the statement for a page of reports."""
    order = _order(dialect, REPORT_ORDER, query.page, "r")
    page, limits = _limit(query.page)
    where = "r.org_id = ? AND r.started_at IS NOT NULL"
    return f"{REPORT} WHERE {where} ORDER BY {order} {page}", [query.org_id, *limits]


HIDDEN: Final = "SELECT org_id, id FROM jobs WHERE lagging_since IS NOT NULL AND scheduler_state <> 'active'"


def count_pending(dialect: Dialect, *, has_hidden: bool) -> str:
    """Return the statement that counts claimable tasks by type, over all organisations.

    The inner part follows the index without a sort; the outer one adds organisations together. Only where
    there are `HIDDEN` jobs, whose tasks are not all marked yet, each row is looked at for its job.
    """
    hidden = f" AND (t.org_id, t.job_id) NOT IN ({HIDDEN})" if has_hidden else ""
    return (
        "SELECT type, CAST(sum(tasks) AS BIGINT) AS tasks, min(oldest) AS oldest FROM"  # noqa: S608
        " (SELECT type, count(*) AS tasks, min(created_at) AS oldest"
        f" FROM tasks t {dialect.by_index('tasks_claimable_by_type')}"
        f" WHERE {dialect.claimable}{hidden} GROUP BY org_id, type) of GROUP BY type"
    )


def count_running(dialect: Dialect) -> str:
    """Return the statement that counts tasks with a live run."""
    return (
        f"SELECT count(*) AS tasks FROM tasks t {dialect.by_index('tasks_running')}"  # noqa: S608
        " WHERE t.run_status = 'running'"
    )


def _status(dialect: Dialect, statuses: tuple[str, ...]) -> str:
    # Literals, not parameters: a partial index is used only where the database can see that it fits.
    terms = [
        dialect.claimable if s == "pending" else f"t.run_status = '{RunStatus(s).value}'" for s in statuses
    ]
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


def _order(dialect: Dialect, terms: dict[str, str], page: Page, alias: str) -> str:
    sort = page.sort or BY_CREATION
    direction = "DESC" if sort.descending else "ASC"
    ties = ("created_at", "id") if sort.field != "createdAt" else ("id",)
    first = f"{terms[sort.field]} {direction}"
    if sort.field in MAY_BE_NULL:
        first = dialect.directed(terms[sort.field], direction)
    return ", ".join([first, *(f"{alias}.{column} {direction}" for column in ties)])


def _limit(page: Page) -> Statement:
    return "LIMIT ? OFFSET ?", [page.size, page.offset]
