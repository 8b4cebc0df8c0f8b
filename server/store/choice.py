"""Which store a database URL means."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from server.ids import IdSource, ordered_ids
from server.store.refusal import DatabaseError
from server.store.sqlite.store import SqliteStore
from server.store.store import Store
from worker.clock import Clock, SystemClock

__all__ = ["DatabaseOptions", "is_postgres", "store_for"]


class DatabaseOptions(Struct, frozen=True, kw_only=True):
    """How a server uses a PostgreSQL database."""

    connections: int = 8  # at most, beside one that listens
    timeout_s: float = 10.0  # how long a statement may take


DEFAULTS: Final = DatabaseOptions()


def is_postgres(url: str) -> bool:
    """Tell whether a URL names a PostgreSQL database."""
    return url.startswith(("postgresql:", "postgres:"))


def store_for(
    url: str,
    clock: Clock | None = None,
    new_id: IdSource | None = None,
    options: DatabaseOptions = DEFAULTS,
) -> Store:
    """Return the store of a database, not yet opened.

    Args:
        url: ``sqlite:///file``, ``sqlite://`` for one in memory, or ``postgresql://user@host/name``.
        clock: where time comes from, instead of the machine's or the database's.
        new_id: where ids come from.
        options: how a PostgreSQL database is used.

    Raises:
        DatabaseError: it is no such URL, or what it needs is not installed.
    """
    new_id = new_id or ordered_ids(clock or SystemClock())
    if not is_postgres(url):
        return SqliteStore(url, clock or SystemClock(), new_id)
    try:
        from server.store.postgres.store import PostgresStore  # noqa: PLC0415 - installed with its extra only
    except ImportError as exc:
        raise DatabaseError(f"PostgreSQL cannot be used: {exc}; pip install 'millhand[postgres]'") from exc
    return PostgresStore(url, clock, new_id, options)
