"""Opening connections: from URL to a session with bounds on everything that could hang."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from msgspec import Struct
from psycopg import conninfo
from psycopg.adapt import Buffer, Loader
from psycopg.rows import dict_row

from server.store.choice import DatabaseOptions
from server.store.refusal import DatabaseError, DatabaseUnreachable

__all__ = ["Limits", "Target", "check_server", "connect", "limits_of", "target_of", "unreachable"]

OLDEST: Final = 13_00_00
EXAMPLE: Final = "give postgresql://user@host:5432/name; a password belongs into PGPASSWORD or ~/.pgpass"

# What libpq is told unless the URL says otherwise. A server that vanished is noticed within half a minute,
# and of several hosts the one that takes writes is used.
DEFAULTS: Final = {
    "application_name": "millhand",
    "client_encoding": "UTF8",
    "connect_timeout": "5",
    "keepalives_count": "3",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "target_session_attrs": "read-write",
    "tcp_user_timeout": "20000",
}


class Limits(Struct, frozen=True):
    """Bounds of a session."""

    statement_s: float = 10.0
    lock_s: float = 3.0  # waiting for another transaction; those last milliseconds
    idle_s: float = 10.0  # within a transaction: its process stands still, and others wait for its locks


class Target(Struct, frozen=True):
    """A database, as libpq wants it."""

    parameters: dict[str, str]

    @property
    def name(self) -> str:
        """Return where it is, without password."""
        of = self.parameters
        host, port = of.get("host") or "the local socket", of.get("port")
        return f"{of.get('dbname') or of.get('user') or 'the default database'} on {host}" + (
            f", port {port}" if port else ""
        )


def target_of(url: str) -> Target:
    """Read a URL.

    Raises:
        DatabaseError: it is no PostgreSQL URL; the message repeats nothing of it, as it may hold a password.
    """
    scheme = urlsplit(url).scheme
    if scheme not in ("postgresql", "postgres"):
        raise DatabaseError(f"not a PostgreSQL URL: it begins with {scheme!r}; {EXAMPLE}")
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.Error as exc:  # its message may quote the URL
        raise DatabaseError(f"not a PostgreSQL URL that libpq can read; {EXAMPLE}") from (
            None if "password" in str(exc) or "@" in str(exc) else exc
        )
    host, port = str(given.get("host", "")), str(given.get("port", ""))
    if "@" in host or not set(port) <= set("0123456789,"):
        raise DatabaseError(
            "not a PostgreSQL URL: its host or port is none; write / : @ of a password as %2F %3A %40"
        )
    return Target({**DEFAULTS, **{name: str(value) for name, value in given.items() if value is not None}})


class WholeFloat(Loader):
    """Reads a number as it came: whole ones without a fraction."""

    def load(self, data: Buffer) -> float:
        """Return an int where nothing is lost."""
        value = float(bytes(data))
        return int(value) if value.is_integer() else value


def connect(target: Target, limits: Limits) -> psycopg.Connection[dict[str, Any]]:
    """Open a session whose commits are durable.

    Raises:
        psycopg.OperationalError: it cannot be reached, or refuses; without password in its message.
    """
    connection: psycopg.Connection[dict[str, Any]] = psycopg.connect(
        **target.parameters,  # type: ignore[arg-type]  # a mapping of any of libpq's parameters
        autocommit=True,
        row_factory=dict_row,
    )
    try:
        connection.adapters.register_loader("float8", WholeFloat)
        connection.execute(settings(limits).encode())
    except BaseException:
        connection.close()
        raise
    return connection


def settings(limits: Limits) -> str:
    """Return the statements that set up a session; as SET they also pass a pooler in session mode."""
    return f"""
SET default_transaction_isolation = 'read committed';
SET enable_seqscan = off; -- a plan that is made while a table is small is kept when it grows
SET statement_timeout = {_ms(limits.statement_s)};
SET lock_timeout = {_ms(limits.lock_s)};
SET idle_in_transaction_session_timeout = {_ms(limits.idle_s)};
SELECT set_config('synchronous_commit', 'on', FALSE) WHERE current_setting('synchronous_commit') = 'off'"""


def limits_of(options: DatabaseOptions) -> Limits:
    """Return a session's bounds: who waits for a lock is told so before its statement is stopped."""
    return Limits(options.timeout_s, min(Limits().lock_s, options.timeout_s / 2), options.timeout_s)


def unreachable(target: Target, exc: psycopg.Error) -> DatabaseUnreachable:
    """Return the error for a database that does not answer."""
    return DatabaseUnreachable(f"the database {target.name} cannot be reached: {' '.join(str(exc).split())}")


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def check_server(connection: psycopg.Connection[Any]) -> None:
    """Refuse a server that cannot hold the data.

    Raises:
        DatabaseError: it is too old, or its texts are not UTF-8.
    """
    version = connection.info.server_version
    if version < OLDEST:
        raise DatabaseError(f"PostgreSQL {version // 10000} is too old; {OLDEST // 10000} or newer is needed")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise DatabaseError(
            f"the database's encoding is {encoding}, and texts would be lost in it;"
            " create one with ENCODING 'UTF8' TEMPLATE template0"
        )
