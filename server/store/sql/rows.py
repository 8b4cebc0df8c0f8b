"""From rows to records: which columns are read, and how they look on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from operator import itemgetter
from typing import Final

from msgspec import Raw

from server.store.records import (
    AgentRecord,
    BriefAnswer,
    Depth,
    Depths,
    JobAge,
    JobRecord,
    Principal,
    ReportRecord,
    RunAnswer,
    RunBrief,
    RunRecord,
    TaskAnswer,
    TaskRecord,
    TokenRecord,
)
from server.store.rules import MILLION, JobTotals, is_finished
from server.store.sql.dialect import Dialect, Row
from server.times import instant_of

__all__ = [
    "AGENTS",
    "ONE_TASK",
    "REPORT",
    "TASK",
    "TOKENS",
    "agent_record",
    "brief_answer",
    "depths",
    "job_age",
    "job_record",
    "one_run",
    "principal",
    "progress_of",
    "report_record",
    "run_answer",
    "select_run",
    "task_answer",
    "token_record",
]


TASK: Final = "SELECT * FROM tasks t"
VISIBLE: Final = (
    "EXISTS (SELECT 1 FROM jobs j WHERE j.org_id = t.org_id AND j.id = t.job_id AND j.deleted_at IS NULL)"
)
ONE_TASK: Final = f"{TASK} WHERE t.org_id = ? AND t.id = ? AND {VISIBLE}"


@cache
def select_run(dialect: Dialect, *, has_results: bool = True, along: str = "") -> str:
    """Return the statement that selects runs, with their jobs' states."""
    results, joined = (dialect.results, dialect.join_results) if has_results else ("NULL", "")
    return f"""
SELECT r.*, {results} AS results, {dialect.machine} AS machine_told, j.scheduler_state
FROM runs r {along} {joined} {dialect.join_machine}
JOIN jobs j ON j.org_id = r.org_id AND j.id = r.job_id"""  # noqa: S608 - built from constants


@cache
def one_run(dialect: Dialect) -> str:
    """Return the statement that selects a run by organisation and id."""
    return f"{select_run(dialect)} WHERE r.org_id = ? AND r.id = ? AND j.deleted_at IS NULL"


AGENTS: Final = "SELECT * FROM agents WHERE org_id = ? ORDER BY id LIMIT 10000"
TOKENS: Final = (
    "SELECT t.*, o.name AS organisation FROM tokens t JOIN organisations o ON o.id = t.org_id"
    " ORDER BY o.name, t.created_at, t.id"
)


REPORT: Final = """
SELECT r.created_by, r.org_id, r.progress, r.started_at, r.stopped_at, r.created_at,
       t.title, t.type, j.title AS job_title
FROM runs r JOIN tasks t ON t.org_id = r.org_id AND t.id = r.task_id
JOIN jobs j ON j.org_id = r.org_id AND j.id = r.job_id"""


def job_record(row: Row) -> JobRecord:
    """Read a row of `Dialect.job` or `Dialect.jobs`."""
    pending, running, stopped = (row[name] or 0 for name in ("pending", "running", "stopped"))
    count = pending + running + stopped
    return JobRecord(
        id=row["id"],
        created_by=row["created_by"],
        title=row["title"],
        org_id=row["org_id"],
        scheduler_state=row["scheduler_state"],
        type=row["type"],
        created_at=_instant(row["created_at"]),
        updated_at=_instant(row["changed_at"]),
        parameters=Raw(row["parameters"]),
        task_status_pending=pending,
        task_status_running=running,
        task_status_stopped=stopped,
        task_progress=_ratio(row["progress"] or 0, count * MILLION) if count else 0,
        task_result_failures=row["failures"] or 0,
        task_result_successes=row["successes"] or 0,
        task_count=count,
        priority=row["priority"],
        status=row["status"],
    )


def job_age(row: Row) -> JobAge:
    """Read a row of `Dialect.jobs`."""
    totals = JobTotals(*(row[name] or 0 for name in ("pending", "running", "stopped")))
    return JobAge(
        org_id=row["org_id"],
        id=row["id"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
        tasks=totals.pending + totals.running + totals.stopped,
        is_finished=is_finished(totals, row["scheduler_state"]),
        is_going=row["deleted_at"] is not None,
    )


def task_answer(row: Row) -> TaskAnswer:
    """Read a row of `TASK`."""
    record = TaskRecord(
        id=row["id"],
        created_by=row["created_by"],
        title=row["title"],
        org_id=row["org_id"],
        type=row["type"],
        job_id=row["job_id"],
        created_at=_instant(row["created_at"]),
        updated_at=_instant(row["updated_at"]),
        parameters=Raw(row["parameters"]),
        priority=row["priority"],
        run_status=row["run_status"],
        run_result=row["run_result"],
        run_progress=progress_of(row["run_progress"]),
        report_progress=bool(row["report_progress"]),
    )
    return TaskAnswer(record, row["extra"])


# Columns of runs that go to the wire as they are.
PLAIN: Final = (
    "id",
    "task_id",
    "job_id",
    "created_by",
    "result_code",
    "result_message",
    "error",
    "gpu_time",
    "cpu_time",
    "machine_type",
    "cpu_platform",
    "gpu_type",
    "instance_id",
    "limit_cpus",
    "request_cpus",
    "node_cpus",
    "limit_ram",
    "request_ram",
    "node_ram",
    "org_id",
    "pod_id",
    "ram_usage",
    "wall_clock_time",
    "zone",
)

plain = itemgetter(*PLAIN)


def run_answer(row: Row) -> RunAnswer:
    """Read a row of `select_run`, or the same columns as they were just written."""
    record = RunRecord(
        **dict(zip(PLAIN, plain(row), strict=True)),
        created_at=_instant(row["created_at"]),
        updated_at=_instant(row["updated_at"]),
        started_at=instant_of(row["started_at"]),
        stopped_at=instant_of(row["stopped_at"]),
        progress=progress_of(row["progress"]),
        results=None if row["results"] is None else Raw(row["results"]),
        machine=None if row["machine_told"] is None else Raw(row["machine_told"]),
        preemptible=None if row["preemptible"] is None else bool(row["preemptible"]),
        report_progress=bool(row["report_progress"]),
    )
    return RunAnswer(record, row["scheduler_state"], _is_leased(row))


def brief_answer(row: Row) -> BriefAnswer:
    """Read what tells whose a run is and how it stands; what was not told of a new one is not there."""
    brief = RunBrief(
        id=row["id"],
        started_at=instant_of(row.get("started_at")),
        stopped_at=instant_of(row.get("stopped_at")),
        pod_id=row.get("pod_id"),
    )
    return BriefAnswer(brief, row["scheduler_state"], _is_leased(row))


def report_record(row: Row) -> ReportRecord:
    """Read a row of `REPORT`."""
    return ReportRecord(
        created_by=row["created_by"],
        job_title=row["job_title"],
        org_id=row["org_id"],
        progress=progress_of(row["progress"]),
        started_at=instant_of(row["started_at"]),
        stopped_at=instant_of(row["stopped_at"]),
        title=row["title"],
        type=row["type"],
    )


def _is_leased(row: Row) -> bool:
    return row["lease_until"] is not None and row.get("stopped_at") is None


def _instant(at_ms: int) -> str:
    return instant_of(at_ms) or ""


def progress_of(millionths: int | None) -> float | None:
    """Return a progress as the wire shows it, of whole millionths; None stays None."""
    return None if millionths is None else _ratio(millionths, MILLION)


def _ratio(part: int, whole: int) -> float:
    # A whole 0 or 1 goes out without a fraction, as the reference shows it.
    ratio = part / whole
    return int(ratio) if ratio in (0, 1) else ratio


def depths(pending: Sequence[Row], running: Sequence[Row]) -> Depths:
    """Read the rows of `reads.count_pending` and `reads.count_running`."""
    return Depths(
        pending=tuple(
            Depth(type=row["type"], tasks=row["tasks"], oldest_at=row["oldest"]) for row in pending
        ),
        running=running[0]["tasks"],
    )


def principal(row: Row) -> Principal:
    """Read a row of the tokens."""
    return Principal(
        token_id=row["id"], org_id=row["org_id"], scopes=frozenset(row["scopes"].split()), name=row["name"]
    )


def token_record(row: Row) -> TokenRecord:
    """Read a row of `TOKENS`."""
    return TokenRecord(
        id=row["id"],
        name=row["name"],
        org_id=row["org_id"],
        organisation=row["organisation"],
        scopes=tuple(row["scopes"].split()),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
    )


def agent_record(row: Row) -> AgentRecord:
    """Read a row of `AGENTS`."""
    return AgentRecord(
        id=row["id"],
        org_id=row["org_id"],
        seen_at=_instant(row["seen_at"]),
        status=Raw(row["status"]),
        machine=Raw(row["machine"]),
        handlers=Raw(row["handlers"]),
    )
