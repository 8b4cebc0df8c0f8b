"""Opening the database: from URL to connections."""

from __future__ import annotations

import fcntl
import re
import sqlite3
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import quote, unquote

from server.store.refusal import DatabaseError
from server.store.sql.outcomes import pattern_of

__all__ = ["all_rows", "database_path", "lock_file", "open_reader", "open_writer"]

BUSY_TIMEOUT_S: Final = 5.0  # another process (a backup, the sqlite3 shell) may hold the write lock
CHECKPOINT_PAGES: Final = 8_000  # of 4 KiB: a busy second's worth of WAL; with the default of 1,000 every
# third group of commands would wait for a checkpoint
CACHE_KIB: Final = 65_536  # of pages, for a connection; the default of 2,000 spills within a group
PASSWORD: Final = re.compile(r"://.*@")
OLDEST_SQLITE: Final = (3, 24, 0)  # upsert


def database_path(url: str) -> Path | None:
    """Return the file that a URL names; None for a database in memory (``sqlite://``).

    ``sqlite:///name`` is relative to the working directory, ``sqlite:////name`` absolute.

    Raises:
        DatabaseError: it is no SQLite URL.
    """
    if url in ("sqlite://", "sqlite:///:memory:", "sqlite://:memory:"):
        return None
    prefix = "sqlite:///"
    if not url.startswith(prefix) or len(url) == len(prefix):
        raise DatabaseError(
            f"not a database URL: {PASSWORD.sub('://***@', url)!r}; give sqlite:///relative/file,"
            " sqlite:////absolute/file, sqlite:// for one in memory, or postgresql://user@host/name"
        )
    return Path(unquote(url[len(prefix) :]))


def lock_file(path: Path) -> BinaryIO:
    """Keep a second server off a database file, until what is returned is closed.

    Two would each know only their own waiters, and starve each other's writes. The lock is on a file
    beside it; the kernel lets it go with the process, however that ends. Readers need none.

    Raises:
        DatabaseError: another server has it, or the file cannot be made.
    """
    beside = path.with_name(f"{path.name}.lock")
    try:
        opened = beside.open("ab")
    except OSError as exc:
        raise DatabaseError(_cannot_open(path, exc)) from exc
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        opened.close()
        raise DatabaseError(
            f"the database {path} is served by another process already (it holds {beside});"
            " stop that one, or give this one a database of its own"
        ) from exc
    return opened


def open_writer(path: Path | None) -> sqlite3.Connection:
    """Open the one connection that writes, durable at each commit (WAL, synchronous=FULL).

    Raises:
        DatabaseError: it cannot be opened.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise DatabaseError(f"SQLite {sqlite3.sqlite_version} is too old; 3.24 or newer is needed")
    try:
        connection = _connect(":memory:" if path is None else str(path))
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    except sqlite3.Error as exc:
        raise DatabaseError(_cannot_open(path, exc)) from exc
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that only reads; it sees every commit and never waits for the writer.

    Raises:
        DatabaseError: it cannot be opened.
    """
    try:
        connection = _connect(f"file:{quote(str(path))}?mode=ro", uri=True)
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as exc:
        raise DatabaseError(_cannot_open(path, exc)) from exc
    return connection


def all_rows(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    """Return what a statement found, by the names of its columns.

    `sqlite3.Row` looks for a name among all of them; for the forty of a run, longer than SQLite for the run.
    """
    return [dict(zip(row.keys(), row, strict=True)) for row in cursor.fetchall()]


def _connect(name: str, *, uri: bool = False) -> sqlite3.Connection:
    # The thread check is off because opening and closing happen in another thread than the use;
    # no connection is used by two threads at once.
    connection = sqlite3.connect(
        name,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        uri=uri,
    )
    connection.row_factory = sqlite3.Row
    connection.create_function("pattern_of", 1, pattern_of, deterministic=True)
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return connection


def _cannot_open(path: Path | None, exc: Exception) -> str:
    where = "in memory" if path is None else str(path)
    return f"the database {where} cannot be opened: {exc}; does its folder exist, and may it be written?"
