"""Which store a database URL means."""

from __future__ import annotations

from typing import Final

from server.ids import IdSource, ordered_ids
from server.store.refusal import DatabaseError
from server.store.sqlite.store import SqliteStore
from server.store.store import Store
from worker.clock import Clock, SystemClock

__all__ = ["CONNECTIONS", "is_postgres", "store_for"]

CONNECTIONS: Final = 8  # of one server on PostgreSQL, beside the one that listens


def is_postgres(url: str) -> bool:
    """Tell whether a URL names a PostgreSQL database."""
    return url.startswith(("postgresql:", "postgres:"))


def store_for(
    url: str, clock: Clock | None = None, new_id: IdSource | None = None, *, connections: int = CONNECTIONS
) -> Store:
    """Return the store of a database, not yet opened.

    Args:
        url: ``sqlite:///file``, ``sqlite://`` for one in memory, or ``postgresql://user@host/name``.
        clock: where time comes from, instead of the machine's or the database's.
        new_id: where ids come from.
        connections: how many a server on PostgreSQL opens at most, beside one that listens.

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
    return PostgresStore(url, clock, new_id, connections=connections)
