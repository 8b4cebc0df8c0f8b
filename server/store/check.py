"""Look at a database without changing it: can a server start on it?"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from msgspec import Struct

from server.store.choice import DatabaseOptions, is_postgres
from server.store.migration import Migration, check_known
from server.store.refusal import DatabaseError
from server.store.sqlite.database import database_path, open_reader
from server.store.sqlite.migrate import migrations

__all__ = ["DatabaseReport", "check_database"]


class DatabaseReport(Struct, frozen=True, rename="camel"):
    """What was found."""

    database: str  # where it is, without password
    engine: str
    schema_version: int  # 0: there is none yet
    known_version: int  # a start brings the schema to it

    def as_text(self) -> str:
        """Say it to a person."""
        schema = f"schema version {self.schema_version}"
        if not self.schema_version:
            schema = f"no schema yet; a start makes version {self.known_version}"
        elif self.schema_version < self.known_version:
            schema += f"; a start brings it to {self.known_version}"
        return f"{self.database}: {self.engine}, {schema}"


def check_database(url: str, options: DatabaseOptions) -> DatabaseReport:
    """Read what there is; blocking, and it writes nothing.

    Raises:
        DatabaseError: a server could not start on it.
        DatabaseUnreachable: it does not answer.
    """
    return _check_postgres(url, options) if is_postgres(url) else _check_sqlite(url)


def _check_sqlite(url: str) -> DatabaseReport:
    path, engine = database_path(url), f"SQLite {sqlite3.sqlite_version}"
    if path is None:
        return DatabaseReport("a database in memory", engine, 0, _newest(migrations()))
    version = _sqlite_version(path) if path.exists() else 0
    if not path.parent.is_dir():
        raise DatabaseError(f"the database {path} cannot be made: {path.parent} is no folder")
    return DatabaseReport(str(path), engine, version, check_known(version, migrations()))


def _sqlite_version(path: Path) -> int:
    try:
        db = open_reader(path)
        try:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'").fetchall():
                return 0
            return int(db.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()[0])
        finally:
            db.close()
    except sqlite3.Error as exc:
        raise DatabaseError(f"the database {path} cannot be read: {exc}; is it one of SQLite's?") from exc


def _newest(steps: list[Migration]) -> int:
    return check_known(0, steps)


def _check_postgres(url: str, options: DatabaseOptions) -> DatabaseReport:
    try:
        from server.store.postgres.look import look  # noqa: PLC0415 - installed with its extra only
    except ImportError as exc:
        raise DatabaseError(f"PostgreSQL cannot be used: {exc}; pip install 'millhand[postgres]'") from exc
    name, engine, version, steps = look(url, options)
    return DatabaseReport(name, engine, version, check_known(version, steps))
