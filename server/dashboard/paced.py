"""What is a lot of work to find is looked for seldom: answers that pages share until they are old enough.

Whether it is much is told by its amount, never by a clock: on a busy machine a small job is as fresh as ever.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from msgspec import Struct

from worker.clock import Clock

__all__ = ["Answer", "Paced"]

SHARE: Final = 20  # looking for one thing takes one part of so many of the time
MOST: Final = 64  # answers that are kept

AnswerT = TypeVar("AnswerT")
FoundT = TypeVar("FoundT")


class Answer(Struct, Generic[AnswerT], frozen=True):
    """What was found."""

    value: AnswerT
    as_of: datetime | None  # where it is not of now
    good_until_mono: float


class Paced:
    """Answers by what was asked; one of much work that took a second is given for twenty."""

    def __init__(self, clock: Clock) -> None:
        """Know nothing yet."""
        self._clock = clock
        self._known: OrderedDict[Hashable, Answer[object]] = OrderedDict()
        self._turns: dict[Hashable, asyncio.Lock] = {}

    async def ask(
        self, key: Hashable, find: Callable[[], Awaitable[FoundT]], is_much: Callable[[FoundT], bool]
    ) -> Answer[FoundT]:
        """Return what `find` finds, or found a little while ago for the same key, if that was much work.

        One looks at a time for a key, and who waited takes what the other found, if that is much.
        """
        turn = self._turns.setdefault(key, asyncio.Lock())
        try:
            async with turn:
                known = self._known.get(key)
                if known is None or self._clock.mono() >= known.good_until_mono:
                    known = await self._found(key, find, is_much)
        finally:
            if not turn.locked():
                self._turns.pop(key, None)
        return known  # type: ignore[return-value]  # a key always asks for the same kind of thing

    async def _found(
        self, key: Hashable, find: Callable[[], Awaitable[Any]], is_much: Callable[[Any], bool]
    ) -> Answer[object]:
        begun, as_of = self._clock.mono(), self._clock.now()
        value = await find()
        if not is_much(value):
            self._known.pop(key, None)
            return Answer(value, None, begun)
        ended = self._clock.mono()
        answer = self._known[key] = Answer(value, as_of, ended + SHARE * (ended - begun))
        self._known.move_to_end(key)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return answer
