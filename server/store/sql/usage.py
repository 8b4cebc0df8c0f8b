"""Statements behind the reports and the timeline, and what their rows say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from server.store.rules import MILLION
from server.store.sql.dialect import Dialect, Row
from server.store.sql.reads import Statement
from server.store.usage import (
    KINDS_OF,
    LONGEST_NAME,
    Ending,
    Span,
    SpanQuery,
    Spans,
    Usage,
    UsageQuery,
    UsageRow,
    Waiting,
)
from worker.api.wire import ErrorKind, ResultCode

__all__ = ["select_spans", "select_usage", "select_waiting", "spans_of", "usage_of", "waiting_of"]

KINDS: Final = ("task_type", "machine", "machine_type", "gpu_type", "zone", "preemptible", "ending")
FIGURES: Final = ("wall_s", "cpu_s", "gpu_s", "ram_byte_s")
MOST: Final = "1e18"  # of anything: what says more is told by nobody's clock, and a sum of it could be none


def _figure(term: str) -> str:
    """Return a figure that is one; what cannot be is unknown."""
    return f"CASE WHEN {term} >= 0 AND {term} <= {MOST} THEN {term} END"


def _beginning(term: str) -> str:
    """Return of a text as much as a page shows: twenty thousand long ones fill memory."""
    return f"substr({term}, 1, {LONGEST_NAME})"


# Of a run whose end told no time, that between its two instants; a clock that was set back tells none.
WALL: Final = f"coalesce({_figure('r.wall_clock_time')}, {_figure('(r.stopped_at - r.started_at) / 1000.0')})"
SPAN: Final = (
    f"SELECT r.org_id, r.id, r.task_id, r.job_id, {_beginning('r.pod_id')} AS pod_id, r.created_at,"  # noqa: S608
    " r.updated_at, r.started_at, r.stopped_at, r.result_code, r.error, r.progress FROM runs r"
    " WHERE r.org_id = ? AND r.started_at IS NOT NULL"
)


def _is(kind: ErrorKind) -> str:
    begin = f"{kind.value}:"
    return f"substr(r.error || ':', 1, {len(begin)}) = '{begin}'"


def _ending() -> str:
    cases = [
        f"WHEN {' OR '.join(_is(kind) for kind in kinds)} THEN '{ending.value}'"
        for ending, kinds in KINDS_OF.items()
    ]
    return (
        f"CASE WHEN r.stopped_at IS NULL THEN '{Ending.RUNNING.value}'"
        f" WHEN r.result_code = '{ResultCode.SUCCESS.value}' THEN '{Ending.SUCCEEDED.value}'"
        f" {' '.join(cases)} ELSE '{Ending.FAILED.value}' END"
    )


ENDING: Final = _ending()


def select_usage(dialect: Dialect, query: UsageQuery) -> Statement:
    """Return the statement that adds up what runs took, by everything a price may ask for."""
    where, values = "r.org_id = ? AND r.created_at >= ?", [query.org_id, query.since]
    if query.job_id is not None:
        where, values = f"{where} AND r.job_id = ?", [*values, query.job_id]
    columns = ", ".join(
        [
            "r.org_id, r.job_id, r.task_id, r.machine_type, r.gpu_type, r.zone, r.preemptible",
            f"{_beginning(dialect.before('r.pod_id', '/'))} AS machine",
            f"{ENDING} AS ending",
            f"{WALL} AS wall_s",
            f"{_figure('r.cpu_time')} AS cpu_s",
            f"{_figure('r.gpu_time')} AS gpu_s",
            f"{_figure('r.ram_usage')} * {WALL} AS ram_byte_s",
        ]
    )
    runs = (
        f"SELECT {columns} FROM runs r WHERE {where} AND r.started_at IS NOT NULL"  # noqa: S608
        " ORDER BY r.created_at DESC, r.id DESC LIMIT ?"
    )
    kinds = ", ".join([f"{_beginning('t.type')} AS task_type", *(f"u.{kind}" for kind in KINDS[1:])])
    groups = ", ".join(
        [
            "t.type",
            "j.deleted_at IS NULL",
            *(f"u.{kind}" for kind in KINDS[1:]),
            *(f"u.{one} IS NULL" for one in FIGURES),
        ]
    )
    sums = ", ".join(f"sum(u.{one} * 1.0) AS {one}" for one in FIGURES)  # whole numbers could be too many
    return (
        f"SELECT {kinds}, j.deleted_at IS NULL AS is_there, count(*) AS runs, {sums} FROM ({runs}) u"  # noqa: S608
        " JOIN tasks t ON t.org_id = u.org_id AND t.id = u.task_id"
        " JOIN jobs j ON j.org_id = u.org_id AND j.id = u.job_id"
        f" GROUP BY {groups}",
        [*values, query.most],
    )


def usage_of(found: Sequence[Row]) -> Usage:
    """Read the rows of `select_usage`."""
    return Usage([_usage_row(row) for row in found if row["is_there"]], sum(row["runs"] for row in found))


def _usage_row(row: Row) -> UsageRow:
    is_spot = row["preemptible"]
    return UsageRow(
        task_type=row["task_type"],
        machine=row["machine"],
        machine_type=row["machine_type"],
        gpu_type=row["gpu_type"],
        zone=row["zone"],
        preemptible=None if is_spot is None else bool(is_spot),
        ending=Ending(row["ending"]),
        runs=row["runs"],
        wall_s=row["wall_s"],
        cpu_s=row["cpu_s"],
        gpu_s=row["gpu_s"],
        ram_byte_s=row["ram_byte_s"],
    )


def select_spans(_dialect: Dialect, query: SpanQuery) -> Statement:
    """Return the statement of the spans; each row says how many runs were looked at, if need be only that."""
    before = "SELECT max(CASE WHEN p.started_at IS NULL THEN p.created_at ELSE p.updated_at END) FROM runs p"
    own = "p.org_id = r.org_id AND p.task_id = r.task_id AND p.created_at < r.created_at"
    return (
        f"WITH newest AS ({SPAN} AND r.created_at >= ? ORDER BY r.created_at DESC, r.id DESC LIMIT ?),"  # noqa: S608
        f" seen AS (SELECT * FROM newest UNION {SPAN} AND r.stopped_at IS NULL),"
        f" told AS (SELECT r.id, r.task_id, {_beginning('t.type')} AS task_type,"
        f" {_beginning('t.title')} AS title, r.pod_id,"
        " r.created_at AS made_at, r.updated_at AS heard_at,"
        f" r.started_at, r.stopped_at, r.progress, {ENDING} AS ending,"
        f" coalesce(({before} WHERE {own}), t.created_at) AS wanted_at"
        " FROM seen r JOIN tasks t ON t.org_id = r.org_id AND t.id = r.task_id"
        " JOIN jobs j ON j.org_id = r.org_id AND j.id = r.job_id AND j.deleted_at IS NULL"
        " WHERE r.stopped_at IS NULL OR r.stopped_at >= ? OR r.created_at >= ?)"
        " SELECT told.*, n.looked_at FROM (SELECT count(*) AS looked_at FROM newest) n"
        " LEFT JOIN told ON TRUE ORDER BY told.made_at DESC, told.id DESC",
        [query.org_id, query.made_since, query.most, query.org_id, query.since, query.since],
    )


def spans_of(found: Sequence[Row]) -> Spans:
    """Read the rows of `select_spans`."""
    spans = [
        Span(
            id=row["id"],
            task_id=row["task_id"],
            task_type=row["task_type"],
            title=row["title"],
            pod_id=row["pod_id"],
            made_at=row["made_at"],
            heard_at=row["heard_at"],
            wanted_at=row["wanted_at"],
            started_at=row["started_at"],
            stopped_at=row["stopped_at"],
            progress=None if row["progress"] is None else row["progress"] / MILLION,
            ending=Ending(row["ending"]),
        )
        for row in found
        if row["id"] is not None
    ]
    return Spans(spans, found[0]["looked_at"])


def select_waiting(dialect: Dialect, org_id: str) -> Statement:
    """Return the statement that counts an organisation's claimable tasks by type, along their index."""
    return (
        "SELECT type, count(*) AS tasks, min(created_at) AS oldest"  # noqa: S608
        f" FROM tasks t {dialect.by_index('tasks_claimable_by_type')}"
        f" WHERE t.org_id = ? AND {dialect.claimable} GROUP BY type ORDER BY type",
        [org_id],
    )


def waiting_of(found: Sequence[Row]) -> list[Waiting]:
    """Read the rows of `select_waiting`."""
    return [Waiting(task_type=row["type"], tasks=row["tasks"], oldest_at=row["oldest"]) for row in found]
