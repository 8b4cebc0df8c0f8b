"""Bring a database to the newest schema, one numbered file after another, all or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import cache
from typing import Final

from server.store.migration import Migration, check_known, files_of
from server.store.refusal import DatabaseError

__all__ = ["migrate", "migrations", "newest_version"]

FOLDER: Final = "server.store.sqlite.migrations"


def migrations() -> list[Migration]:
    """Read the files that came with the program, in order."""
    return files_of(FOLDER)


@cache
def newest_version() -> int:
    """Return the version of the schema that this program works with."""
    return check_known(0, migrations())


def migrate(connection: sqlite3.Connection, steps: list[Migration], now_ms: int) -> int:
    """Apply the steps that are missing in one transaction and return the version reached.

    Raises:
        DatabaseError: the database is newer than the steps known here, or a table is in the way.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _apply_missing(connection, steps, now_ms)
    except sqlite3.Error as exc:
        connection.execute("ROLLBACK")
        raise DatabaseError(f"the database's schema cannot be brought up to date: {exc}") from exc
    except DatabaseError:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return version


def _apply_missing(connection: sqlite3.Connection, steps: list[Migration], now_ms: int) -> int:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_version"
        " (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL)"
    )
    (current,) = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    newest = check_known(current, steps)
    for step in steps:
        if step.version > current:
            for statement in _statements(step.sql):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO schema_version VALUES (?, ?, ?)", (step.version, step.name, now_ms)
            )
    return newest


def _statements(sql: str) -> Iterator[str]:
    # Not executescript: it commits what is open, and the steps must stand or fall together.
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
