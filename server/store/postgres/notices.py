"""Tell the servers on one database of tasks that nobody waits for at the one where they came.

A call goes to one server after another, until as many waiters were called as tasks came: each is named by
the process id of its listening backend, and says in the call which ones were asked already. A call that is
lost (a server dies) costs a waiter at most the rest of its wait; who then asks again looks at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
import psycopg
import structlog

from server.store.changes import AnyPending, Listener, TasksPending
from server.store.postgres.database import Target
from server.store.refusal import StoreBusy, StoreFailed

__all__ = ["LISTENER", "Notices"]

LISTENER: Final = "millhand listener"  # application_name
CHANNEL: Final = "millhand_"
LARGEST_PAYLOAD: Final = 7_000  # bytes; PostgreSQL takes 8,000
MOST_KINDS: Final = 1_000  # of organisation and type that wait to be told; beyond, everybody looks
SOONEST_S: Final = 0.005  # between two tellings: a burst of tasks becomes one
RECONNECT_S: Final = (0.1, 2.0)  # first and longest pause
ALIVE_S: Final = 30.0  # a connection that lies still so long is asked whether it lives

# To one other server, any of those that were not asked yet. A loss at a crash of the database is no harm,
# so nobody waits for its disk.
TELL: Final = """
SELECT set_config('synchronous_commit', 'off', TRUE), pg_notify('millhand_' || pid, ?) FROM (
    SELECT pid FROM pg_stat_activity
    WHERE application_name = 'millhand listener' AND datname = current_database() AND pid <> ALL (?)
    ORDER BY random() LIMIT 1) other"""

log = structlog.get_logger(__name__)

Tell = Callable[[str, list[object]], Awaitable[object]]
Kind = tuple[tuple[int, ...], str, str]  # servers that were asked, organisation, type


class Notices:
    """The listening connection, and what is still to be told."""

    def __init__(self, target: Target, listener: Listener, tell: Tell) -> None:
        """Prepare. `tell` does a statement on another connection."""
        self._parameters = {**target.parameters, "application_name": LISTENER}
        self._listener = listener
        self._tell = tell
        self._pid = 0  # of our backend; 0: not connected
        self._outbox: defaultdict[Kind, int] = defaultdict(int)
        self._tasks: list[asyncio.Task[None]] = []
        self._something = asyncio.Event()

    def start(self) -> None:
        """Begin to listen and to tell."""
        self._tasks = [asyncio.create_task(work) for work in (self._listen_for_ever(), self._tell_for_ever())]

    async def stop(self) -> None:
        """End both."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def pass_on(self, pending: TasksPending) -> None:
        """Tell another server soon, unless all were asked."""
        if len(self._outbox) < MOST_KINDS:
            self._outbox[pending.asked, pending.org_id, pending.type] += pending.count
            self._something.set()

    async def _tell_for_ever(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            outbox, self._outbox = self._outbox, defaultdict(int)
            for asked, payload in self._payloads(outbox):
                try:
                    await self._tell(TELL, [payload, list(asked)])
                except (StoreBusy, StoreFailed) as exc:
                    log.debug("notice.lost", reason=str(exc))
            await asyncio.sleep(SOONEST_S)

    def _payloads(self, outbox: dict[Kind, int]) -> Iterator[tuple[tuple[int, ...], str]]:
        by_asked = defaultdict[tuple[int, ...], list[tuple[str, str, int]]](list)
        for (asked, org_id, type_), count in outbox.items():
            by_asked[(*asked, self._pid)].append((org_id, type_, count))
        for asked, calls in by_asked.items():
            for some in _parts(calls):
                yield asked, msgspec.json.encode((asked, some)).decode()

    async def _listen_for_ever(self) -> None:
        pause_s = RECONNECT_S[0]
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**self._parameters, autocommit=True) as db:  # type: ignore[arg-type]
                    await self._listen(db)
            except psycopg.Error as exc:
                log.warning(
                    "listener.lost", reason=str(exc), consequence="waits are not called from elsewhere"
                )
            finally:
                pause_s = RECONNECT_S[0] if self._pid else pause_s
                self._pid = 0
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RECONNECT_S[1])

    async def _listen(self, db: psycopg.AsyncConnection[Any]) -> None:
        pid = db.info.backend_pid
        await db.execute(f"LISTEN {CHANNEL}{pid}".encode())
        self._pid = pid
        self._listener([AnyPending()])  # whatever came while nobody listened
        while True:
            async for notice in db.notifies(timeout=ALIVE_S):
                self._hear(notice.payload)
            await db.execute("SELECT 1")

    def _hear(self, payload: str) -> None:
        with contextlib.suppress(msgspec.MsgspecError):  # anybody may notify
            asked, calls = msgspec.json.decode(payload, type=tuple[list[int], list[tuple[str, str, int]]])
            self._listener(
                [TasksPending(org_id, type_, count, tuple(asked)) for org_id, type_, count in calls]
            )


def _parts(calls: Sequence[tuple[str, str, int]]) -> Iterator[list[tuple[str, str, int]]]:
    """Cut a list so that each part fits into a payload; a type that is longer than one is not told."""
    part, size = list[tuple[str, str, int]](), 0
    for call in calls:
        length = len(msgspec.json.encode(call)) + 1
        if length > LARGEST_PAYLOAD:
            continue
        if size + length > LARGEST_PAYLOAD:
            yield part
            part, size = [], 0
        part.append(call)
        size += length
    if part:
        yield part
