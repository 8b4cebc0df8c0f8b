"""Bring the schema to the newest version: one server at a time, while others serve."""

from __future__ import annotations

import time
from functools import cache
from typing import Any, Final

import psycopg

from server.store.migration import Migration, check_known, files_of
from server.store.refusal import DatabaseError

__all__ = ["migrate", "migrations", "newest_version", "version_of"]

FOLDER: Final = "server.store.postgres.migrations"
LOCK: Final = 0x6D696C6C  # "mill"; advisory, of this database
LONGEST_S: Final = 600  # another server may migrate just now; a large table takes minutes
TABLE_LOCK_MS: Final = 1_000
PAUSE_S: Final = 0.5


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
    end = time.monotonic() + LONGEST_S
    while True:
        try:
            with connection.transaction():
                _migrate(connection, steps, now_ms)
        except psycopg.errors.LockNotAvailable as exc:
            if time.monotonic() > end:
                raise DatabaseError(f"the database's schema is in use all the time: {exc}") from exc
            time.sleep(PAUSE_S)
        except psycopg.Error as exc:
            raise DatabaseError(f"the database's schema cannot be brought up to date: {exc}") from exc
        else:
            return newest


def _migrate(connection: psycopg.Connection[Any], steps: list[Migration], now_ms: int) -> None:
    connection.execute(f"SET LOCAL statement_timeout = {LONGEST_S * 1000}".encode())
    connection.execute(f"SET LOCAL lock_timeout = {LONGEST_S * 1000}".encode())
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    # Who waits for a table holds up all who come after, so it gives way again and again.
    connection.execute(f"SET LOCAL lock_timeout = {TABLE_LOCK_MS}".encode())
    _apply_missing(connection, steps, now_ms)


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
