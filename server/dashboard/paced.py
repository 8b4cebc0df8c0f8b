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
FAILED_S: Final = 30.0  # at most as long it is not tried again: the database may be well by then
PATIENCE_S: Final = 0.25  # of a page that is shown without what takes longer

AnswerT = TypeVar("AnswerT")
FoundT = TypeVar("FoundT")


class Answer(Struct, Generic[AnswerT], frozen=True):
    """What was found."""

    value: AnswerT
    as_of: datetime | None  # where it is not of now
    good_until_mono: float
    bearable_until_mono: float  # whoever asks before gets it, and has it looked for beside that


class Paced:
    """Answers by what was asked; one of much work that took a second is given for twenty."""

    def __init__(self, clock: Clock) -> None:
        """Know nothing yet."""
        self._clock = clock
        self._known: OrderedDict[Hashable, Answer[object]] = OrderedDict()
        self._failed: OrderedDict[Hashable, tuple[Exception, float]] = OrderedDict()  # until when it counts
        self._turns: dict[Hashable, asyncio.Lock] = {}
        self._beside: dict[Hashable, asyncio.Task[Answer[object]]] = {}

    def close(self) -> None:
        """Look for nothing any more, because the server stops."""
        for task in self._beside.values():
            task.cancel()

    async def ask(
        self, key: Hashable, find: Callable[[], Awaitable[FoundT]], is_much: Callable[[FoundT], bool]
    ) -> Answer[FoundT]:
        """Return what `find` finds, or found a little while ago for the same key, if that was much work.

        One looks at a time for a key, and who waited takes what the other found, if that is much. Nobody
        waits where there is an answer of twice that age at most: it is given, and looked for beside. What
        failed is raised again for a while, without looking: it took its time, too.
        """
        if (known := self._bearable(key, find, is_much)) is not None:
            return known  # type: ignore[return-value]  # a key always asks for the same kind of thing
        turn = self._turns.setdefault(key, asyncio.Lock())
        try:
            async with turn:
                known = self._known.get(key)
                if known is None or self._clock.mono() >= known.good_until_mono:
                    self._raise_failed(key)
                    known = await self._found(key, find, is_much)
        finally:
            if not turn.locked():
                self._turns.pop(key, None)
        return known  # type: ignore[return-value]

    async def soon(self, key: Hashable, find: Callable[[], Awaitable[FoundT]]) -> Answer[FoundT] | None:
        """Return the same of what is always much work; None where it is not known yet, and takes a while."""
        if (known := self._bearable(key, find, always)) is not None:
            return known  # type: ignore[return-value]
        self._raise_failed(key)
        task = self._look_beside(key, find, always)
        await asyncio.wait({task}, timeout=PATIENCE_S)
        return task.result() if task.done() and not task.cancelled() else None  # type: ignore[return-value]

    def _raise_failed(self, key: Hashable) -> None:
        exc, until_mono = self._failed.get(key, (None, 0.0))
        if exc is not None and self._clock.mono() < until_mono:
            raise exc.with_traceback(None)

    def _bearable(
        self, key: Hashable, find: Callable[[], Awaitable[Any]], is_much: Callable[[Any], bool]
    ) -> Answer[object] | None:
        known, now_mono = self._known.get(key), self._clock.mono()
        if known is None or now_mono >= known.bearable_until_mono:
            return None
        if now_mono >= known.good_until_mono:
            self._look_beside(key, find, is_much)
        return known

    def _look_beside(
        self, key: Hashable, find: Callable[[], Awaitable[Any]], is_much: Callable[[Any], bool]
    ) -> asyncio.Task[Answer[object]]:
        if (task := self._beside.get(key)) is None:
            task = self._beside[key] = asyncio.create_task(self._found(key, find, is_much), name="paced")
            task.add_done_callback(lambda done: self._end_beside(key, done))
        return task

    def _end_beside(self, key: Hashable, done: asyncio.Task[Answer[object]]) -> None:
        del self._beside[key]
        if not done.cancelled():
            done.exception()  # is told to whoever asks when the answer is too old

    async def _found(
        self, key: Hashable, find: Callable[[], Awaitable[Any]], is_much: Callable[[Any], bool]
    ) -> Answer[object]:
        begun, as_of = self._clock.mono(), self._clock.now()
        try:
            value = await find()
        except Exception as exc:
            ended = self._clock.mono()
            keep(self._failed, key, (exc, ended + min(FAILED_S, SHARE * (ended - begun))))
            raise
        self._failed.pop(key, None)
        if not is_much(value):
            self._known.pop(key, None)
            return Answer(value, None, begun, begun)
        ended = self._clock.mono()
        good_s = SHARE * (ended - begun)
        answer: Answer[object] = Answer(value, as_of, ended + good_s, ended + 2 * good_s)
        keep(self._known, key, answer)
        return answer


def keep(found: OrderedDict[Hashable, FoundT], key: Hashable, value: FoundT) -> None:
    """Keep the newest of what was found, the oldest no longer."""
    found[key] = value
    found.move_to_end(key)
    while len(found) > MOST:
        found.popitem(last=False)


def always(_found: object) -> bool:
    """Take anything for much work."""
    return True
