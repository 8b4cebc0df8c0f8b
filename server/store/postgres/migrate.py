"""Bring the schema to the newest version: one server at a time, while others serve."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import psycopg

from server.store.migration import Migration, check_known, files_of
from server.store.refusal import DatabaseError

__all__ = ["migrate", "migrations", "newest_version", "version_of"]

FOLDER: Final = "server.store.postgres.migrations"
LOCK: Final = 0x6D696C6C  # "mill"; advisory, of this database
WAIT_FOR_OTHERS_S: Final = (
    600  # another server that starts at the same time migrates; a large table takes minutes
)


def migrations() -> list[Migration]:
    """Read the files that came with the program, in order."""
    return files_of(FOLDER)


@cache
def newest_version() -> int:
    """Return the version of the schema that this program works with."""
    return check_known(0, migrations())


def version_of(connection: psycopg.Connection[Any]) -> int:
    """Return the version of the schema; 0 where there is none."""
    row = connection.execute("SELECT to_regclass('schema_version') IS NOT NULL AS found").fetchone()
    if row is None or not row["found"]:
        return 0
    row = connection.execute("SELECT coalesce(max(version), 0) AS version FROM schema_version").fetchone()
    return 0 if row is None else int(row["version"])


def migrate(connection: psycopg.Connection[Any], steps: list[Migration], now_ms: int) -> int:
    """Apply the steps that are missing in one transaction and return the version reached.

    Raises:
        DatabaseError: the database is newer than the steps known here, or a table is in the way.
    """
    newest = check_known(version_of(connection), steps)
    if version_of(connection) == newest:  # as a rule; no lock is needed to see it
        return newest
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = {WAIT_FOR_OTHERS_S * 1000}".encode())
            connection.execute(f"SET LOCAL lock_timeout = {WAIT_FOR_OTHERS_S * 1000}".encode())
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            _apply_missing(connection, steps, now_ms)
    except psycopg.Error as exc:
        raise DatabaseError(f"the database's schema cannot be brought up to date: {exc}") from exc
    return newest


def _apply_missing(connection: psycopg.Connection[Any], steps: list[Migration], now_ms: int) -> None:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_version"
        " (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)"
    )
    current = version_of(connection)
    check_known(current, steps)
    for step in steps:
        if step.version > current:
            connection.execute(step.sql.encode())
            connection.execute(
                "INSERT INTO schema_version VALUES (%s, %s, %s)", (step.version, step.name, now_ms)
            )
