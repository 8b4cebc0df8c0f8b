"""Commands on a database beside the server that serves it: what an operator does on its machine.

Without the lock that keeps a second server off: the transaction is SQLite's own, and short. A server
sees what changed when it looks a token up again.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TypeVar, cast

from server.ids import ordered_ids
from server.store.commands import Command
from server.store.records import TokenRecord
from server.store.refusal import DatabaseError
from server.store.sql import rows
from server.store.sqlite.database import database_path, lock_file, open_reader, open_writer
from server.store.sqlite.migrate import migrate, migrations
from server.store.sqlite.writer import apply_all
from server.times import to_ms
from worker.clock import Clock

__all__ = ["apply_beside", "is_there", "tokens_beside"]

AnswerT = TypeVar("AnswerT")


def apply_beside(url: str, command: Command[AnswerT], clock: Clock) -> AnswerT:
    """Do one command on a database, which is made if there is none; durable.

    Raises:
        DatabaseError: it cannot be opened or written, or is of another version.
        Refused: the state of things does not allow it.
    """
    path = _file(url)
    _bring_up_to_date(path, clock)
    try:
        with closing(open_writer(path)) as db:
            (answer,), _ = apply_all(db, [command], clock, ordered_ids(clock))
    except sqlite3.Error as exc:
        raise DatabaseError(f"the database {path} could not be written: {exc}") from exc
    if isinstance(answer, Exception):
        raise answer
    return cast(AnswerT, answer)


def is_there(url: str) -> bool:
    """Tell whether there is such a database.

    Raises:
        DatabaseError: it cannot be one.
    """
    return _file(url).exists()


def tokens_beside(url: str, clock: Clock) -> list[TokenRecord]:
    """Return all tokens of a database, by organisation, without their hashes.

    Raises:
        DatabaseError: it cannot be opened, is not there, or is of another version.
    """
    path = _file(url)
    if not path.exists():
        raise DatabaseError(f"there is no database {path}; `millhand token create` or a server makes it")
    _bring_up_to_date(path, clock)
    with closing(open_reader(path)) as db:
        return [rows.token_record(row) for row in db.execute(rows.TOKENS)]


def _file(url: str) -> Path:
    path = database_path(url)
    if path is None:
        raise DatabaseError("a database in memory has no tokens beside its server's: name a file")
    return path


def _bring_up_to_date(path: Path, clock: Clock) -> None:
    """Migrate the schema where no server is on it; one that is would not know what changed."""
    steps = migrations()
    if path.exists() and _version(path) == steps[-1].version:
        return
    with lock_file(path), closing(open_writer(path)) as db:
        migrate(db, steps, to_ms(clock.now()))


def _version(path: Path) -> int:
    with closing(open_reader(path)) as db:
        try:
            return int(db.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()[0])
        except sqlite3.OperationalError as exc:
            if "no such table" in str(exc):
                return 0
            raise DatabaseError(f"the database {path} could not be read: {exc}") from exc
        except sqlite3.DatabaseError as exc:
            raise DatabaseError(f"{path} is no database of millhand: {exc}") from exc
