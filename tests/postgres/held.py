"""A command that another server has done and not committed, for as long as a test wants.

Nothing then depends on speed: who has to wait for it is refused at the end of the time for locks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from server.ids import ordered_ids
from server.store.choice import DatabaseOptions
from server.store.commands import Command
from server.store.postgres.commands import execute
from server.store.postgres.database import Limits, connect, target_of
from server.store.postgres.session import TIME
from server.store.postgres.transaction import PostgresTransaction
from worker.clock import SystemClock

__all__ = ["SHORT", "held"]

SHORT: Final = DatabaseOptions(
    connections=2, timeout_s=1.0
)  # who waits for a lock is refused after half of that


@contextmanager
def held(url: str, command: Command[Any], shard: int = 0, *, is_counted: bool = False) -> Iterator[Any]:
    """Do a command, give its answer, and commit when the block ends.

    Counters are written last, together with the commit; `is_counted`: they are written already.
    """
    with connect(target_of(url), Limits()) as connection, connection.pipeline() as pipeline:
        now_ms = connection.execute(TIME).fetchall()[0]["now_ms"]
        connection.execute("BEGIN")
        tx = PostgresTransaction(connection, pipeline, lambda: now_ms, ordered_ids(SystemClock()), shard)
        answer = execute(tx, command, None)
        if is_counted:
            tx.counters.write()
        tx.one("SELECT 1")  # what went before is at the database now
        yield answer
        tx.counters.write()
        tx.send()
        connection.execute("COMMIT")
        pipeline.sync()
