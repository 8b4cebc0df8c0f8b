"""SQLite's parts of the statements."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from server.store.sql.dialect import Dialect

__all__ = ["SQLITE"]


def _with_counters(jobs: str) -> str:
    """Add up the counters of the jobs that another statement selects.

    The jobs come first, so that a page costs the counters of its jobs only.
    """
    return f"""
SELECT j.*, sum(c.pending) AS pending, sum(c.running) AS running, sum(c.stopped) AS stopped,
       sum(c.failures) AS failures, sum(c.successes) AS successes, sum(c.progress) AS progress,
       max(j.updated_at, coalesce(max(c.updated_at), 0)) AS changed_at
FROM ({jobs}) j LEFT JOIN job_counters c ON c.org_id = j.org_id AND c.job_id = j.id
GROUP BY j.org_id, j.id"""  # noqa: S608 - built from constants


CLOSING: Final = (
    "SELECT id FROM jobs WHERE org_id = ? AND scheduler_state <> 'active'"
    " AND id IN (SELECT value FROM json_each(?))"
)


# By their number; runs of older releases have theirs in the other table.
JOIN_RESULTS: Final = """
LEFT JOIN run_results n ON n.id = r.results_id
LEFT JOIN results b ON r.results_id IS NULL AND b.org_id = r.org_id AND b.run_id = r.id"""
# Numbers as the columns of usage_samples would have them: whole bytes are no fractions, seconds are.
OWN_SAMPLE: Final = f"""
UNION ALL
SELECT r.sampled_at AS at, CAST(r.cpu_time AS REAL), CASE r.ram_usage WHEN CAST(r.ram_usage AS INTEGER)
       THEN CAST(r.ram_usage AS INTEGER) ELSE r.ram_usage END, CAST(r.gpu_time AS REAL),
       CAST(r.wall_clock_time AS REAL), r.progress, NULL, NULL, coalesce(n.body, b.body) AS results
FROM runs r {JOIN_RESULTS}
WHERE r.org_id = ? AND r.id = ? AND r.sampled_at IS NOT NULL"""  # noqa: S608 - built from constants


class SqliteDialect:
    """One writer: no locks. A list of texts goes as JSON."""

    has_tasks_by_status = False
    lock_task = ""
    lock_tasks = ""
    lock_job = ""
    change_job = ""
    claimable = "(t.run_status = 'pending' AND t.job_is_active = 1)"
    new_id = "new_id()"
    machine = "coalesce(m.body, r.machine)"
    join_machine = (
        "LEFT JOIN machines m ON m.org_id = r.org_id AND m.job_id = r.job_id AND m.digest = r.machine"
    )
    results = "coalesce(n.body, b.body)"
    join_results = JOIN_RESULTS
    results_id = "r.results_id"
    own_sample = OWN_SAMPLE
    new_job: Mapping[str, Any] = {"status": "pending"}
    job = _with_counters("SELECT * FROM jobs WHERE org_id = ? AND id = ? AND deleted_at IS NULL")
    job_status = "j.status"
    job_updated = (
        "max(j.updated_at, coalesce((SELECT max(u.updated_at) FROM job_counters u"
        " WHERE u.org_id = j.org_id AND u.job_id = j.id), 0))"
    )

    def jobs(self, where: str, order: str, page: str) -> str:
        """Return the statement for a page of jobs."""
        inner = f"SELECT j.* FROM jobs j WHERE {where} ORDER BY {order} {page}"  # noqa: S608
        return f"{_with_counters(inner)} ORDER BY {order}"

    def walk(self, tasks: str, order: str, depth: int) -> str:
        """Return it as it is: it is merged along its index."""
        return tasks

    def closing(self, is_closing: bool) -> Mapping[str, Any]:
        """Return nothing: the one process knows by itself."""
        return {}

    def following(self, now_ms: int) -> Mapping[str, Any]:
        """Return nothing: there is nobody else."""
        return {}

    def not_closing(self, org_id: str, closing: Collection[str]) -> tuple[str, list[object]] | None:
        """Ask the rows of these jobs: one may be active again."""
        if not closing:
            return None
        return f"NOT (t.run_status = 'pending' AND t.job_id IN ({CLOSING}))", [org_id, self.as_list(closing)]

    def in_list(self, mark: str) -> str:
        """Take the list apart."""
        return f"(SELECT value FROM json_each({mark}))"  # noqa: S608 - a mark of ours

    def as_list(self, values: Collection[str]) -> object:
        """Return a JSON array."""
        return msgspec.json.encode(values).decode()

    def directed(self, term: str, direction: str) -> str:
        """Return the term as it is: here NULL is the smallest value."""
        return f"{term} {direction}"

    def joined(self, term: str, order: str) -> str:
        """Join them as they come."""
        return f"group_concat({term}, '')"

    def replaced(self, term: str, patterns: Sequence[str], mark: str) -> str:
        """Call a function of the connection: SQLite has no regular expressions."""
        return f"pattern_of({term})"

    def before(self, term: str, mark: str) -> str:
        """Look for the mark behind the text, too."""
        return f"substr({term}, 1, instr({term} || '{mark}', '{mark}') - 1)"

    def of_job(self, status: str) -> str:
        """Name the index: SQLite cannot tell it from that of all the job's tasks."""
        return self.by_index("tasks_running" if status == "running" else f"tasks_{status}_of_job")

    def live_runs(self) -> str:
        """Name the index; it tells of leases, too."""
        return self.by_index("runs_live_by_creation")

    def by_index(self, name: str) -> str:
        """Name it: SQLite has no statistics, and could choose another."""
        return f"INDEXED BY {name}"


SQLITE: Final[Dialect] = SqliteDialect()
