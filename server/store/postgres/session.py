"""One connection, in one thread: commands as transactions, retried where that cannot do harm."""

from __future__ import annotations

import contextlib
import random
import select
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

import psycopg
import structlog
from psycopg import errors

from server.ids import IdSource
from server.store.changes import Change
from server.store.commands import Command
from server.store.postgres.commands import Jumps, execute
from server.store.postgres.counters import SHARDS
from server.store.postgres.dialect import psycopg_form
from server.store.postgres.transaction import PostgresTransaction
from server.store.refusal import OutcomeUnknown, Refused, StoreBusy, StoreFailed, TookTooLong
from server.store.sql.dialect import Row
from server.times import to_ms
from worker.clock import Clock

__all__ = ["NOW", "Session"]

Connection = psycopg.Connection[dict[str, Any]]
T = TypeVar("T")

NOW: Final = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
TIME: Final = f"SELECT {NOW} AS now_ms".encode()
# Commands find rows by their ids. A plan for a certain organisation that no statistics know yet would
# take it for empty, and walk through all that it has.
ANY_ORGANISATION: Final = "SET LOCAL plan_cache_mode = force_generic_plan"
MOST_TRIES: Final = 6
PAUSE_S: Final = 0.01  # doubled with each try, with jitter

log = structlog.get_logger(__name__)


class Again(Exception):  # noqa: N818 - never leaves this module
    """Nothing was changed, and another try may do it, on a new connection if need be."""

    def __init__(self, reason: Exception, *, is_connection_useless: bool = False) -> None:
        super().__init__(str(reason))
        self.is_connection_useless = is_connection_useless


class Session:
    """A connection that is opened when it is needed, and again when it was lost.

    Not safe to use from two threads at once.
    """

    def __init__(
        self, open_: Callable[[], Connection], new_id: IdSource, clock: Clock | None, jumps: Jumps | None
    ) -> None:
        """Prepare. Time is the database's, unless a clock is given."""
        self._open = open_
        self._new_id = new_id
        self._clock = clock
        self._jumps = jumps
        self._connection: Connection | None = None
        self._shard = random.randrange(SHARDS)

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def apply(self, command: Command[Any]) -> tuple[Any, Sequence[Change]]:
        """Do a command in a transaction of its own; return its answer and what changed for waiters.

        Raises:
            Refused: the state of things does not allow it.
            StoreBusy: others held what it needs for too long; nothing changed.
            OutcomeUnknown: the connection was lost during the commit.
            StoreFailed: the database cannot be reached or failed; nothing changed.
        """
        return self._retried(lambda connection: self._transact(connection, command))

    def all(self, sql: str, values: Sequence[object]) -> list[Row]:
        """Return the rows of a statement that only reads.

        Raises:
            StoreBusy, StoreFailed: as `apply`.
        """
        form = psycopg_form(sql)

        def read(connection: Connection) -> list[Row]:
            with _translated():
                return cast(list[Row], connection.execute(form, values).fetchall())

        return self._retried(read)

    def _retried(self, work: Callable[[Connection], T]) -> T:
        reason: Exception | None = None
        for attempt in range(MOST_TRIES):
            if attempt:
                time.sleep(random.uniform(0.5, 1.5) * PAUSE_S * 2**attempt)
            connection = self._connected()
            try:
                return work(connection)
            except Again as exc:
                reason = exc
                log.debug("store.again", reason=str(exc))
                if exc.is_connection_useless:
                    self.close()
            finally:
                if connection.broken:
                    self.close()
        raise StoreBusy(f"The database could not do it in {MOST_TRIES} tries: {reason}")

    def _connected(self) -> Connection:
        if self._connection is None:
            try:
                self._connection = self._open()
            except psycopg.Error as exc:
                raise StoreFailed(f"The database cannot be reached: {exc}") from exc
        return self._connection

    def _transact(self, connection: Connection, command: Command[Any]) -> tuple[Any, Sequence[Change]]:
        is_committing = False
        try:
            with _translated(), connection.pipeline() as pipeline:
                now = self._begin(connection)
                tx = PostgresTransaction(connection, pipeline, now, self._new_id, self._shard)
                answer = execute(tx, command, self._jumps)
                tx.counters.write()
                _check_alive(connection)
                is_committing = True
                tx.send()
                done = connection.execute("COMMIT")
                pipeline.sync()
        except BaseException as exc:
            is_lost = connection.broken or connection.closed
            self._roll_back(connection)
            if is_committing and is_lost:
                raise OutcomeUnknown(
                    "The database went away during the commit; it is not known whether it was stored"
                ) from exc
            raise
        if done.statusmessage != "COMMIT":
            raise StoreFailed(f"The database answered {done.statusmessage} to a commit")
        return answer, tx.changes

    def _begin(self, connection: Connection) -> Callable[[], int]:
        connection.execute("BEGIN")
        connection.execute(ANY_ORGANISATION)
        if (clock := self._clock) is not None:
            return lambda: to_ms(clock.now())
        asked = connection.execute(TIME)
        return lambda: int(asked.fetchall()[0]["now_ms"])  # waits for it only where nothing was asked before

    def _roll_back(self, connection: Connection) -> None:
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:  # then the database does so by itself
            self.close()


# Two commands got in each other's way: the second try sees what the first one of them did.
IN_THE_WAY: Final = (errors.DeadlockDetected, errors.IntegrityError, errors.SerializationFailure)


@contextlib.contextmanager
def _translated() -> Any:
    """Turn what psycopg raises, before a commit, into what `Session` promises."""
    try:
        yield
    except Refused:
        raise
    except IN_THE_WAY as exc:
        raise Again(exc) from exc
    except errors.LockNotAvailable as exc:
        raise StoreBusy("Another change of the same task or job takes too long") from exc
    except errors.QueryCanceled as exc:
        raise TookTooLong from exc
    except errors.FeatureNotSupported as exc:  # a cached plan, of before a migration
        raise Again(exc, is_connection_useless=True) from exc
    except (errors.OperationalError, errors.InternalError, errors.InterfaceError) as exc:
        # Lost before the commit: nothing was changed, and a new connection may do it.
        if _is_lost(exc):
            raise Again(exc, is_connection_useless=True) from exc
        raise StoreFailed(f"The database failed: {exc}") from exc


def _check_alive(connection: Connection) -> None:
    """Raise where the database has ended the session already: then nothing of it can be in doubt.

    Between questions a session that lives says nothing; whatever is there is its end, or so rare
    (a setting that is told) that trying again does no harm.
    """
    waits = select.poll()
    waits.register(connection.fileno(), select.POLLIN)
    if waits.poll(0):
        raise Again(errors.OperationalError("the session was ended"), is_connection_useless=True)


def _is_lost(exc: psycopg.Error) -> bool:
    """Tell whether an error means that the connection is gone, or leads to a server that does not write."""
    if isinstance(exc, errors.ReadOnlySqlTransaction):
        return True
    return exc.sqlstate is None or exc.sqlstate.startswith(("08", "57P", "25P03"))
