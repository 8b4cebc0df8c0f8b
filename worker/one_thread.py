"""A thread for calls that block, one after the other; the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar

__all__ = ["OneThread"]

T = TypeVar("T")


class Call(NamedTuple):
    """A call, and who waits for it."""

    function: Callable[[], Any]
    answer: asyncio.Future[Any]


class OneThread:
    """Calls in the order in which they were asked for. Used on one event loop.

    It does what a ThreadPoolExecutor of one thread does, for two thirds of the CPU: there is one future a
    call, not two, and no lock but that of the queue. It begins with its first call. The end of the program
    does not wait for it: a disk that hangs would hold it up for ever.
    """

    def __init__(self, name: str) -> None:
        """`name` is the thread's."""
        self._name: Final = name
        self._calls: SimpleQueue[Call | None] | None = None

    @property
    def is_begun(self) -> bool:
        """Tell whether there is a thread to close."""
        return self._calls is not None

    async def call(self, function: Callable[[], T]) -> T:
        """Return what a call returns, or raise what it raises; who is cancelled takes nothing back."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        if self._calls is None:
            self._calls = SimpleQueue()
            threading.Thread(target=work, args=(self._calls, loop), name=self._name, daemon=True).start()
        self._calls.put(Call(function, answer))
        return await answer

    def close(self) -> None:
        """End the thread when it has done what was asked; a later call begins another one."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None


def work(calls: SimpleQueue[Call | None], loop: asyncio.AbstractEventLoop) -> None:
    """Do calls until there is a None."""
    while (call := calls.get()) is not None:
        result, error = None, None
        try:
            result = call.function()
        except BaseException as exc:  # noqa: BLE001 - it is for who waits
            error = exc
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, call.answer, result, error)


def settle(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    """Tell who waits, unless nobody does any more."""
    if answer.done():
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)
