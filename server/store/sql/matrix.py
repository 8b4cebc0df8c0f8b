"""All tasks of a job at a glance, as statements: in which state they are, and how long they took."""

from __future__ import annotations

from typing import Final

from server.store.outcomes import SlowTask, TaskTimes
from server.store.sql.dialect import Dialect, Row

__all__ = ["select_slowest", "select_task_states", "select_task_times", "slow_task", "task_times"]

LETTER: Final = (
    "CASE WHEN t.run_status = 'pending' THEN 'p' WHEN t.run_status = 'running' THEN 'r'"
    " WHEN t.run_result = 'Success' THEN 's' ELSE 'f' END"
)
# Of a run that lives until now, which is given; NULL where nothing has started, or clocks do not agree.
TOOK: Final = (
    "CASE WHEN coalesce(r.stopped_at, ?) >= r.started_at THEN coalesce(r.stopped_at, ?) - r.started_at END"
)
OF_JOB: Final = "FROM tasks t LEFT JOIN runs r ON r.org_id = t.org_id AND r.id = t.current_run_id"
PARTED: Final = ","


def select_task_states(dialect: Dialect, org_id: str, job_id: str, most: int) -> tuple[str, list[object]]:
    """Return the statement for the `states` of a job's tasks, a letter each."""
    return (
        f"SELECT {dialect.joined('letter', 'created_at, id')} AS states FROM ("  # noqa: S608 - of constants
        f"SELECT {LETTER} AS letter, created_at, id"
        " FROM tasks t WHERE org_id = ? AND job_id = ? ORDER BY created_at, id LIMIT ?) letters",
        [org_id, job_id, most],
    )


def select_task_times(
    dialect: Dialect, org_id: str, job_id: str, now_ms: int, most: int
) -> tuple[str, list[object]]:
    """Return the statement for the `times` of a job's tasks: a letter each, and milliseconds, if any."""
    return (
        f"SELECT {dialect.joined('word', 'created_at, id')} AS times FROM ("  # noqa: S608 - of constants
        f"SELECT {LETTER} || coalesce(CAST({TOOK} AS TEXT), '') || '{PARTED}' AS word, t.created_at, t.id"
        f" {OF_JOB} WHERE t.org_id = ? AND t.job_id = ? ORDER BY t.created_at, t.id LIMIT ?) words",
        [now_ms, now_ms, org_id, job_id, most],
    )


def task_times(row: Row) -> TaskTimes:
    """Read the row of `select_task_times`."""
    words = (row["times"] or "").split(PARTED)[:-1]
    return TaskTimes("".join(word[0] for word in words), [int(word[1:] or -1) for word in words])


def select_slowest(org_id: str, job_id: str, now_ms: int, most: int) -> tuple[str, list[object]]:
    """Return the statement for the tasks of a job whose current runs took longest."""
    return (
        "SELECT * FROM ("  # noqa: S608 - of constants
        f"SELECT t.id, t.title, {LETTER} AS state, {TOOK} AS took_ms, t.created_at {OF_JOB}"
        " WHERE t.org_id = ? AND t.job_id = ?) timed"
        " WHERE took_ms IS NOT NULL ORDER BY took_ms DESC, created_at, id LIMIT ?",
        [now_ms, now_ms, org_id, job_id, most],
    )


def slow_task(row: Row) -> SlowTask:
    """Read a row of `select_slowest`."""
    return SlowTask(id=row["id"], title=row["title"], state=row["state"], took_s=row["took_ms"] / 1000)
