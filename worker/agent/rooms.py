"""How many runs of each type go on, and of which types one more may begin."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from worker.agent.errands import cancel

__all__ = ["Rooms"]

T = TypeVar("T")


class Rooms:
    """The places that single types have; a type without a limit has as many as the agent has slots."""

    def __init__(self, types: Sequence[str], limits: Mapping[str, int]) -> None:
        """All are free."""
        self._types = list(types)
        self._limits = {type_: limit for type_, limit in limits.items() if type_ in types}
        self._busy = Counter[str]()
        self._wider = asyncio.Event()  # a type that was full has room again

    def has_room(self, type_: str) -> bool:
        """Tell whether one more run of a type may begin."""
        limit = self._limits.get(type_)
        return limit is None or self._busy[type_] < limit

    @property
    def has_any(self) -> bool:
        """Tell whether one more run of some type may begin."""
        return len(self._limits) < len(self._types) or any(map(self.has_room, self._types))

    def open(self) -> list[str]:
        """Return the types of which one more run may begin."""
        return [type_ for type_ in self._types if self.has_room(type_)]

    def unmet(self, type_: str) -> tuple[str, ...]:
        """Say why a task has to wait, or be another agent's; empty where it need not."""
        if self.has_room(type_):
            return ()
        return (f"{self._busy[type_]} of {self._limits[type_]} runs of type {type_!r} go on here already",)

    def told(self) -> str:
        """Return the limited types with their runs, in words."""
        return ", ".join(f"{type_} {self._busy[type_]} of {limit}" for type_, limit in self._limits.items())

    def take(self, type_: str) -> None:
        """Have a run of a type begin."""
        self._busy[type_] += 1

    def give_back(self, type_: str) -> None:
        """Have one ended."""
        was_full = not self.has_room(type_)
        self._busy[type_] -= 1
        if was_full and self.has_room(type_):
            self._wider.set()

    def begin(self) -> list[str]:
        """Return the open types; what `widened` tells from now on is that there are more of them."""
        self._wider.clear()
        return self.open()

    async def widened(self) -> None:
        """Wait until a type has room that had none."""
        await self._wider.wait()

    async def unless_widened(self, request: Coroutine[Any, Any, T]) -> T | None:
        """Make a request for the open types; None where another one has room meanwhile.

        A server may hold it for long, for tasks of the open types only.
        """
        if not self._limits:
            return await request
        asking = asyncio.ensure_future(request)
        widened = asyncio.ensure_future(self._wider.wait())
        try:
            await asyncio.wait({asking, widened}, return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else None
        finally:
            await cancel(widened, asking)
