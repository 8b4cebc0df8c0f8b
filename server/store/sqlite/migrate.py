"""Bring a database to the newest schema, one numbered file after another, all or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Final

from msgspec import Struct

from server.store.sqlite.database import DatabaseError

__all__ = ["Migration", "migrate", "migrations", "newest_version"]

FOLDER: Final = "server.store.sqlite.migrations"


class Migration(Struct, frozen=True, order=True):
    """A step of the schema: its number, the name of its file, its statements."""

    version: int
    name: str
    sql: str


def migrations() -> list[Migration]:
    """Read the files that came with the program, in order."""
    files = (f for f in resources.files(FOLDER).iterdir() if f.name.endswith(".sql"))
    return sorted(Migration(int(f.name.split("_")[0]), f.name, f.read_text("utf-8")) for f in files)


@cache
def newest_version() -> int:
    """Return the version of the schema that this program works with."""
    return max(step.version for step in migrations())


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
    newest = max((step.version for step in steps), default=0)
    if current > newest:
        raise DatabaseError(
            f"the database has schema version {current}, this program knows up to {newest}:"
            " start the newer program, or restore the backup made before it ran"
        )
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
