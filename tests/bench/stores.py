"""Databases to measure the stores on, filled straight in SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import psycopg

from tests.postgres.cluster import Cluster, find_programs

__all__ = ["ORG", "Database", "databases", "sqlite_database"]

ORG: Final = "bench"
POSTGRES: Final = "shared_buffers = 512MB\nmaintenance_work_mem = 256MB\n"

# A job with as many tasks as there are numbers, all in one state; ids grow, as the server's do.
JOB: Final = """
INSERT INTO jobs (org_id, id, created_by, type, scheduler_state, priority, parameters, {status_column}
                  created_at, updated_at)
VALUES ('bench', '{job}', 'bench', 'bench-noop', 'active', 0, '{{}}', {status_value}1, 1)"""
TASKS: Final = """
INSERT INTO tasks (org_id, id, job_id, created_by, type, priority, parameters, report_progress, created_at,
                   updated_at, run_status, run_result, job_is_active)
SELECT 'bench', {id}, '{job}', 'bench', 'type-' || (n % 10), 0, '{{}}', TRUE, n / 10, n, '{state}',
       {result}, TRUE FROM {numbers}"""
COUNTS: Final = """
INSERT INTO job_counters VALUES ('bench', '{job}', 0, {pending}, 0, {done}, 0, {done}, {done}000000, 1)"""
SERIES: Final = (
    "(WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s)"
)
FORGET: Final = (
    "DELETE FROM runs WHERE job_id = '{job}'",
    "DELETE FROM job_counters WHERE job_id = '{job}'",
    "DELETE FROM tasks WHERE job_id = '{job}'",
    "DELETE FROM jobs WHERE id = '{job}'",
)


class Database:
    """A database, and what does statements on it beside the store."""

    def __init__(
        self, name: str, url: str, execute: Callable[[list[str]], None], pid: int | None = None
    ) -> None:
        """Name it as the figures do; `pid` is that of a process of its own, if it has one."""
        self.name = name
        self.pid = pid
        self.url = url
        self._execute = execute
        self._is_sqlite = url.startswith("sqlite")

    def execute(self, statements: list[str]) -> None:
        """Do them, and have the database know how much there is."""
        self._execute(statements)

    def fill(self, job: str, count: int, *, is_done: bool = False) -> None:
        """Put a job with so many tasks in place of the one of that id, all pending, or all done."""
        numbers = SERIES.format(count=count) if self._is_sqlite else f"generate_series(1, {count}) n"
        number = "printf('%09d', n)" if self._is_sqlite else "lpad(n::text, 9, '0')"
        state = "stopped" if is_done else "pending"
        status = ("status, ", f"'{state}', ") if self._is_sqlite else ("", "")
        self._execute(
            [
                *(statement.format(job=job) for statement in FORGET),
                JOB.format(job=job, status_column=status[0], status_value=status[1]),
                TASKS.format(
                    id=f"'{job}-' || {number}",
                    job=job,
                    state=state,
                    result="'Success'" if is_done else "NULL",
                    numbers=numbers,
                ),
                COUNTS.format(job=job, pending=0 if is_done else count, done=count if is_done else 0),
            ]
        )


def sqlite_database(path: Path) -> Database:
    """Return the database in a file, which need not be there yet."""
    return Database("SQLite", f"sqlite:///{path}", lambda statements: _by_sqlite(path, statements))


@contextmanager
def databases(folder: Path, kind: str) -> Iterator[Database | None]:
    """Give a database of a kind; None where it cannot be had here. `folder` is on a disk."""
    if kind == "SQLite":
        path = folder / "store.db"
        yield sqlite_database(path)
        path.unlink(missing_ok=True)
    elif find_programs() is None:
        yield None
    else:
        server = Cluster(configuration=POSTGRES)
        try:
            server.start()
            url = server.url(server.new_database())
            yield Database(kind, url, lambda statements: _by_psycopg(url, statements), server.pid)
        finally:
            server.remove()


def _by_sqlite(path: Path, statements: list[str]) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA cache_size = -1000000")
        for statement in statements:
            db.execute(statement)
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _by_psycopg(url: str, statements: list[str]) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        for statement in statements:
            db.execute(statement.encode())
        db.execute("VACUUM (ANALYZE) tasks")
        db.execute("ANALYZE")
