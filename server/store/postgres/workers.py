"""The threads that talk to the database, each on a connection of its own, and the queue before them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from msgspec import Struct

from server.store.postgres.session import Session
from server.store.refusal import StoreBusy, StoreFailed

__all__ = ["Workers"]

T = TypeVar("T")

MOST_WAITING_EACH: Final = 64  # for a connection; beyond that callers are told to come back
LONGEST_WAIT_S: Final = 2.0  # in the queue; who has waited so long is told to come back, and nothing is tried


class Waiting(Struct, frozen=True):
    """Work, who waits for it, and what is done with its result whether or not somebody still does."""

    work: Callable[[Session], Any]
    then: Callable[[Any], None] | None
    future: asyncio.Future[Any]
    until_mono: float


class Workers:
    """As many pieces of work at once as there are connections."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        """Prepare; `start` begins."""
        self._sessions = sessions
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._waiting = 0  # only touched on the event loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = [
            threading.Thread(target=self._run, args=(session,), name=f"store-{number}", daemon=True)
            for number, session in enumerate(sessions)
        ]

    def start(self) -> None:
        """Start the threads; results go to the running event loop."""
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    async def stop(self) -> None:
        """Finish what waits, then close the connections. Nothing may be asked afterwards."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    async def do(self, work: Callable[[Session], T], then: Callable[[T], None] | None = None) -> T:
        """Return what the work returns. `then` is called with it on the event loop, first.

        A caller that goes away does not take its work back: it may be in a commit already.

        Raises:
            StoreBusy: too much waits, or it waited too long; nothing was tried.
            StoreFailed: the store is closed.
        """
        if self._loop is None:
            raise StoreFailed("The store is closed")
        if self._waiting >= MOST_WAITING_EACH * len(self._threads):
            raise StoreBusy(f"{self._waiting} requests wait for the database already")
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting += 1
        self._queue.put(Waiting(work, then, future, time.monotonic() + LONGEST_WAIT_S))
        return await future

    def _run(self, session: Session) -> None:
        while (waiting := self._queue.get()) is not None:
            result = _result(waiting, session)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                waiting.future.get_loop().call_soon_threadsafe(self._deliver, waiting, result)
        session.close()

    def _deliver(self, waiting: Waiting, result: Any) -> None:
        self._waiting -= 1
        if waiting.then is not None and not isinstance(result, Exception):
            waiting.then(result)
        if waiting.future.done():
            return
        if isinstance(result, Exception):
            waiting.future.set_exception(result)
        else:
            waiting.future.set_result(result)


def _result(waiting: Waiting, session: Session) -> Any:
    """Do the work, and return its result or the exception for who waits."""
    if time.monotonic() > waiting.until_mono:
        return StoreBusy(f"The database had no time for it within {LONGEST_WAIT_S:.0f} s")
    try:
        return waiting.work(session)
    except Exception as exc:  # noqa: BLE001 - raised again where it is waited for
        return exc
