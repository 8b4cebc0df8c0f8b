"""Commands on a PostgreSQL database beside its servers: what an operator does.

The schema is made where there is none, and else left to servers: those that run would not know what changed.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any, TypeVar, cast

import psycopg

from server.ids import ordered_ids
from server.store.commands import Command
from server.store.migration import check_known
from server.store.postgres.database import Limits, check_server, connect, target_of, unreachable
from server.store.postgres.migrate import migrate, migrations, version_of
from server.store.postgres.session import Session
from server.store.postgres.text import without_nul
from server.store.records import TokenRecord
from server.store.refusal import DatabaseError, StoreBusy, StoreFailed
from server.store.sql import rows
from server.times import to_ms
from worker.clock import Clock

__all__ = ["apply_beside", "is_there", "tokens_beside"]

AnswerT = TypeVar("AnswerT")


def apply_beside(url: str, command: Command[AnswerT], clock: Clock) -> AnswerT:
    """Do one command, by the database's time; durable.

    Raises:
        DatabaseError: it cannot be reached or written, or is of another version.
        Refused: the state of things does not allow it.
    """
    with _connected(url) as connection:
        if version_of(connection) == 0:
            migrate(connection, migrations(), to_ms(clock.now()))
        _check_version(connection)
    with closing(_session(url, clock)) as session:
        try:
            answer, _ = session.apply(without_nul(command))
        except (StoreBusy, StoreFailed) as exc:
            raise DatabaseError(f"the database {target_of(url).name} could not be written: {exc}") from exc
    return cast(AnswerT, answer)


def is_there(url: str) -> bool:
    """Tell whether it has a schema.

    Raises:
        DatabaseError: it cannot be reached.
    """
    with _connected(url) as connection:
        return version_of(connection) > 0


def tokens_beside(url: str, clock: Clock) -> list[TokenRecord]:
    """Return all tokens, by organisation, without their hashes.

    Raises:
        DatabaseError: it cannot be reached, has no schema, or is of another version.
    """
    with _connected(url) as connection:
        if version_of(connection) == 0:
            raise DatabaseError(
                f"the database {target_of(url).name} is empty; `millhand token create` or a server fills it"
            )
        _check_version(connection)
        found = connection.execute(rows.TOKENS.encode()).fetchall()
    return [rows.token_record(row) for row in found]


def _connected(url: str) -> psycopg.Connection[dict[str, Any]]:
    target = target_of(url)
    try:
        connection = connect(target, Limits())
    except psycopg.Error as exc:
        raise unreachable(target, exc) from exc
    try:
        check_server(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _session(url: str, clock: Clock) -> Session:
    return Session(lambda: connect(target_of(url), Limits()), ordered_ids(clock), None, None)


def _check_version(connection: psycopg.Connection[Any]) -> None:
    version, steps = version_of(connection), migrations()
    if version != check_known(version, steps):
        raise DatabaseError(
            f"the database has schema version {version}, this program works with {check_known(0, steps)}:"
            " a server of this version brings it up to date when it starts"
        )
