"""How the runs of a job ended, as statements, and what differs between lines that say the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from server.store.outcomes import MOST_FAILURES, MOST_PATTERNS, FailureGroup, Failures, Pace
from server.store.sql.dialect import Dialect, Row
from server.times import instant_of

__all__ = ["FOLDED", "failures", "pace", "pattern_of", "select_failures", "select_pace"]

# What one line becomes by these replacements, one after the other, is its pattern. Both databases do them,
# each by its own means; so only what every kind of regular expression knows is used. Before each: what
# must be in a line, to save time.
FOLDS: Final = (
    ("/", "(/[^/ ',;:()]+){2,}"),  # a path of two parts at least
    ("-", "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),  # a UUID
    ("0x", "0x[0-9a-fA-F]+"),
    ("", "[0-9a-fA-F]{12,}"),  # a hash, or a part of one
    ("", "[0-9]+([.,:][0-9]+)*"),
)
FOLDED: Final = tuple(pattern for _, pattern in FOLDS)
MARK: Final = "…"
COMPILED: Final = tuple((needed, re.compile(pattern)) for needed, pattern in FOLDS)
LINE_FEED: Final = "\n"
LONGEST_LINE: Final = 300  # characters of a first line that count
MOST_FOR_PACE: Final = 100  # successful runs
MOST_STEPPED_OVER: Final = 5_000  # runs, a few milliseconds
REMEMBERED: Final = 8_192  # most lines are alike

# Exactly as in the partial index; a run that was requeued did not fail, but was taken by another.
FAILED: Final = (
    "stopped_at IS NOT NULL AND coalesce(result_code, '') <> 'Success'"
    " AND substr(coalesce(error, ''), 1, 8) <> 'requeued'"
)
# Two times as text of one length, so that the newest is the greatest; one that never started is the oldest.
AGE_DIGITS: Final = 32
AGE: Final = " || ".join(
    f"CAST(1000000000000000 + coalesce({column}, 0) AS TEXT)" for column in ("started_at", "created_at")
)
TOLD: Final = "coalesce(nullif(error, ''), nullif(result_message, ''), 'no reason told')"


@lru_cache(maxsize=REMEMBERED)
def pattern_of(line: str) -> str:
    """Return a line with a mark in place of each path, id and number."""
    for needed, pattern in COMPILED:
        if needed in line:
            line = pattern.sub(MARK, line)
    return line


def select_failures(dialect: Dialect, org_id: str, job_id: str) -> tuple[str, list[object]]:
    """Return the statement that groups the newest failed runs of a job by what they say."""
    line = f"substr({dialect.before(TOLD, LINE_FEED)}, 1, {LONGEST_LINE})"
    order = f"{dialect.directed('started_at', 'DESC')}, created_at DESC, id DESC"
    return (
        f"""
WITH alike AS (
    SELECT pattern, count(*) AS runs, count(DISTINCT task_id) AS tasks, max(age) AS newest,
           min(line) AS one, max(line) AS another
    FROM (SELECT line, {dialect.replaced("line", FOLDED, MARK)} AS pattern, task_id, {AGE} || id AS age
          FROM (SELECT id, task_id, started_at, created_at, {line} AS line
                FROM runs {dialect.by_index("runs_failed")}
                WHERE org_id = ? AND job_id = ? AND {FAILED} ORDER BY {order} LIMIT ?) failed) folded
    GROUP BY pattern),
largest AS (
    SELECT alike.*, CAST(sum(runs) OVER () AS BIGINT) AS looked_at, count(*) OVER () AS patterns
    FROM alike ORDER BY runs DESC, newest DESC LIMIT ?)
SELECT largest.*, r.id, r.stopped_at, {line} AS line
FROM largest JOIN runs r ON r.org_id = ? AND r.id = substr(largest.newest, {AGE_DIGITS} + 1)
ORDER BY runs DESC, newest DESC""",  # noqa: S608 - built from constants
        [org_id, job_id, MOST_FAILURES, MOST_PATTERNS, org_id],
    )


def select_pace(org_id: str, job_id: str) -> tuple[str, list[object]]:
    """Return the statement for how long the newest successful runs of a job took.

    Runs that live, or failed, may lie before them, and are stepped over, but not without end.
    """
    return (
        """
SELECT CAST(avg(took) AS DOUBLE PRECISION) AS mean_ms, count(*) AS runs FROM (
    SELECT stopped_at - started_at AS took FROM (
        SELECT result_code, started_at, stopped_at FROM runs
        WHERE org_id = ? AND job_id = ? ORDER BY created_at DESC, id DESC LIMIT ?) newest
    WHERE result_code = 'Success' AND stopped_at >= started_at LIMIT ?) lately""",
        [org_id, job_id, MOST_STEPPED_OVER, MOST_FOR_PACE],
    )


def pace(rows: Sequence[Row]) -> Pace:
    """Read the row of `select_pace`."""
    mean_ms = rows[0]["mean_ms"]
    return Pace(None if mean_ms is None else mean_ms / 1000, rows[0]["runs"])


def failures(rows: Sequence[Row]) -> Failures:
    """Read the rows of `select_failures`."""
    if not rows:
        return Failures()
    groups = (
        FailureGroup(
            pattern=row["one"] if row["one"] == row["another"] else row["pattern"],
            newest_line=row["line"],
            newest_run_id=row["id"],
            newest_stopped_at=instant_of(row["stopped_at"]) or "",
            runs=row["runs"],
            tasks=row["tasks"],
        )
        for row in rows
    )
    return Failures(groups=tuple(groups), looked_at=rows[0]["looked_at"], patterns=rows[0]["patterns"])
