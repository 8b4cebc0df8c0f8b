"""Requests that wait for tasks: who waits, how long, and that who goes away waits no more."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from server.http.answer import Answer, wrapped
from server.http.request import Request
from server.store.records import TaskAnswer
from worker.api.wire import AGENT_HEADER

__all__ = ["MOST_WAIT_S", "agent_of", "short", "shown", "unless_gone"]

LONGEST_NAME: Final = 256  # characters of an agent's; ours have a host's and 37 more
MOST_WAIT_S: Final = 60  # proxies give up on idle requests not much later
T = TypeVar("T")


def agent_of(request: Request) -> str | None:
    """Return who asks, if it says so; one that is long by its digest, as it is remembered for a while."""
    name = request.headers.get(AGENT_HEADER)
    return None if name is None else short(name)


def short(name: str) -> str:
    """Return a name that is kept for a while; of a long one its digest."""
    if len(name) <= LONGEST_NAME:
        return name
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def shown(tasks: list[TaskAnswer], headers: dict[str, str] | None = None) -> Answer:
    """Answer with a list of tasks."""
    return wrapped("tasks", (task.as_json() for task in tasks), headers)


async def unless_gone(request: Request, waiting: Coroutine[Any, Any, T]) -> T | None:
    """Wait, but stop when the client goes away, with None: its place and its call are of use to others.

    It waits here and not in a task of its own: then the task that came is on its way to an agent before
    who gave it is answered.
    """
    gone, scope = asyncio.create_task(_gone(request)), asyncio.timeout(None)
    gone.add_done_callback(lambda _: _end(scope))
    try:
        async with scope:
            return await waiting
    except TimeoutError:
        if not scope.expired():
            raise
        return None
    finally:
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _end(scope: asyncio.Timeout) -> None:
    with contextlib.suppress(RuntimeError):  # it is over already
        scope.reschedule(asyncio.get_running_loop().time())
