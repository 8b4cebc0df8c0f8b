"""A store whose writes are timed, whatever the database."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from server.activity import Durations
from server.store.commands import Command
from server.store.store import Store

__all__ = ["timed"]

AnswerT = TypeVar("AnswerT")


class _TimedStore:
    """Everything but `apply` is the store's own."""

    def __init__(self, store: Store, writes: Durations) -> None:
        self._store = store
        self._writes = writes
        self.principal = store.principal  # asked with every request

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def apply(self, command: Command[AnswerT]) -> AnswerT:
        """Do a command, and count how long it took until it was durable, refused or failed."""
        begun_s = time.perf_counter()
        try:
            return await self._store.apply(command)
        finally:
            self._writes.add(time.perf_counter() - begun_s)

    async def apply_each(self, commands: Sequence[Command[AnswerT]]) -> list[AnswerT | Exception]:
        """Do commands, and count for each how long all of them took."""
        begun_s = time.perf_counter()
        try:
            return await self._store.apply_each(commands)
        finally:
            self._writes.add(time.perf_counter() - begun_s, len(commands))


def timed(store: Store, writes: Durations) -> Store:
    """Return the store, with the time of its writes counted."""
    return cast(Store, _TimedStore(store, writes))
