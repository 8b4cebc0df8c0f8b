"""Commands on a database beside the servers that serve it, by its URL."""

from __future__ import annotations

from types import ModuleType
from typing import TypeVar, cast

from server.store.choice import is_postgres
from server.store.commands import Command
from server.store.records import TokenRecord
from server.store.refusal import DatabaseError
from server.store.sqlite import beside as sqlite
from worker.clock import Clock

__all__ = ["apply_beside", "is_there", "tokens_beside"]

AnswerT = TypeVar("AnswerT")


def apply_beside(url: str, command: Command[AnswerT], clock: Clock) -> AnswerT:
    """Do one command on a database, which is made if there is none; durable.

    Raises:
        DatabaseError: it cannot be opened or written, or is of another version.
        Refused: the state of things does not allow it.
    """
    return cast(AnswerT, _of(url).apply_beside(url, command, clock))


def is_there(url: str) -> bool:
    """Tell whether there is such a database with a schema of ours.

    Raises:
        DatabaseError: it cannot be opened, or is none.
    """
    return bool(_of(url).is_there(url))


def tokens_beside(url: str, clock: Clock) -> list[TokenRecord]:
    """Return all tokens of a database, by organisation, without their hashes.

    Raises:
        DatabaseError: it cannot be opened, is not there, or is of another version.
    """
    return cast(list[TokenRecord], _of(url).tokens_beside(url, clock))


def _of(url: str) -> ModuleType:
    if not is_postgres(url):
        return sqlite
    try:
        from server.store.postgres import beside as postgres  # noqa: PLC0415 - installed with its extra only
    except ImportError as exc:
        raise DatabaseError(f"PostgreSQL cannot be used: {exc}; pip install 'millhand[postgres]'") from exc
    return postgres
