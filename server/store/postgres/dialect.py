"""PostgreSQL's parts of the statements."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from server.store.sql.dialect import Dialect

__all__ = ["POSTGRES", "psycopg_form"]

# The counters of a job are looked up job by job, so that a page costs those of its jobs only.
SUMS: Final = """
LEFT JOIN LATERAL (
    SELECT sum(pending)::bigint AS pending, sum(running)::bigint AS running, sum(stopped)::bigint AS stopped,
           sum(failures)::bigint AS failures, sum(successes)::bigint AS successes,
           sum(progress)::bigint AS progress, max(updated_at) AS counted_at
    FROM job_counters WHERE org_id = j.org_id AND job_id = j.id) c ON TRUE"""
STATUS: Final = """(CASE WHEN coalesce(c.running + c.stopped, 0) = 0 THEN 'pending'
WHEN c.pending + c.running > 0 THEN 'running' ELSE 'stopped' END)"""
UPDATED: Final = "greatest(j.updated_at, c.counted_at)"
JOBS: Final = f"""
SELECT j.*, c.*, {STATUS} AS status, {UPDATED} AS changed_at
FROM jobs j {SUMS}"""  # noqa: S608 - built from constants


class PostgresDialect:
    """Many writers: row locks, first of the job, then of its tasks. A list of texts is an array."""

    has_tasks_by_status = True
    lock_task = " FOR KEY SHARE OF j FOR UPDATE OF t"
    lock_tasks = " FOR UPDATE"
    lock_job = " FOR KEY SHARE"
    change_job = " FOR UPDATE"
    claimable = "(t.run_status = 'pending' AND t.job_is_active)"
    new_id = "gen_random_uuid()::text"
    machine = "r.machine"
    join_machine = ""
    results = "b.body"
    join_results = "LEFT JOIN results b ON b.org_id = r.org_id AND b.run_id = r.id"
    results_id = "NULL"
    own_sample = ""
    new_job: Mapping[str, Any] = {}
    job = f"{JOBS} WHERE j.org_id = ? AND j.id = ? AND j.deleted_at IS NULL"
    job_status = STATUS
    job_updated = UPDATED

    def jobs(self, where: str, order: str, page: str) -> str:
        """Return the statement for a page of jobs."""
        return f"{JOBS} WHERE {where} ORDER BY {order} {page}"

    def walk(self, tasks: str, order: str, depth: int) -> str:
        """Give it an order and an end of its own: only so it goes along its index."""
        return f"SELECT * FROM ({tasks} ORDER BY {order} LIMIT {depth:d}) walk"  # noqa: S608

    def closing(self, is_closing: bool) -> Mapping[str, Any]:
        """Tell every replica."""
        return {"is_closing": is_closing}

    def following(self, now_ms: int) -> Mapping[str, Any]:
        """Tell every replica."""
        return {"followed_at": now_ms}

    def not_closing(self, org_id: str, closing: Collection[str]) -> tuple[str, list[object]] | None:
        """Ask the rows, whoever closes the jobs; the index of those is as good as empty."""
        return f"t.job_id NOT IN ({CLOSING})", [org_id]

    def in_list(self, mark: str) -> str:
        """Take the array apart."""
        return f"(SELECT unnest(CAST({mark} AS text[])))"

    def as_list(self, values: Collection[str]) -> object:
        """Return what psycopg sends as an array."""
        return list(values)

    def directed(self, term: str, direction: str) -> str:
        """Say where NULL goes: here it is the largest value."""
        return f"{term} {direction} NULLS {'LAST' if direction == 'DESC' else 'FIRST'}"

    def joined(self, term: str, order: str) -> str:
        """Say the order again: only so it is promised."""
        return f"string_agg({term}, '' ORDER BY {order})"

    def replaced(self, term: str, patterns: Sequence[str], mark: str) -> str:
        """Do one replacement within the other."""
        for pattern in patterns:
            term = f"regexp_replace({term}, '{pattern.replace(QUOTE, QUOTE * 2)}', '{mark}', 'g')"
        return term

    def before(self, term: str, mark: str) -> str:
        """Have it split."""
        return f"split_part({term}, '{mark}', 1)"

    def of_job(self, status: str) -> str:
        """Say nothing: its own statistics tell."""
        return ""

    def live_runs(self) -> str:
        """Say nothing: its own statistics tell."""
        return ""

    def by_index(self, name: str) -> str:
        """Leave it to the planner, which knows that the partial index is the smallest."""
        return ""


QUOTE: Final = "'"
CLOSING: Final = "SELECT id FROM jobs WHERE org_id = ? AND is_closing"
POSTGRES: Final[Dialect] = PostgresDialect()
NAMED: Final = re.compile(r"(?<![:\w]):([a-z_]+)")


@lru_cache(maxsize=1024)
def psycopg_form(sql: str) -> str:
    """Return a statement with psycopg's marks."""
    return NAMED.sub(r"%(\1)s", sql.replace("%", "%%").replace("?", "%s"))
