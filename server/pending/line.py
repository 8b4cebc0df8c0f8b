"""The line of those who wait for tasks: first come, first called, no more of them than tasks came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import count
from typing import Final

from server.pending.offers import Offer
from server.store.changes import TasksPending

__all__ = ["MOST_WAITING", "Line", "Unheard", "Waiter"]

Unheard = Callable[[TasksPending], None]

MOST_WAITING: Final = 10_000  # requests; further ones are answered at once


class Waiter:
    """One request in the line. It is called when a task came, and keeps its place until it leaves."""

    def __init__(self, place: int, org_id: str, types: frozenset[str], offer: Offer | None = None) -> None:
        """Wait for tasks of these types; of any, if there are none. It may have an offer."""
        self.offer = offer
        self.place = place
        self.org_id = org_id
        self.types = types
        self.called_for: str | None = None  # a task type; no look has begun since
        self.looking_for: str | None = None  # the type of the call that the look under way answers
        self.is_sent_away = False  # its place was needed, or it has come once more
        self._is_idle = False
        self._bell = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """Tell whether it does nothing but wait, and nobody has called it."""
        return self._is_idle and not self._bell.is_set() and not self.is_given

    @property
    def is_given(self) -> bool:
        """Tell whether it has got a task, or one is being claimed for it."""
        return self.offer is not None and (self.offer.is_giving or self.offer.run is not None)

    def fits(self, task_type: str) -> bool:
        """Tell whether a task of that type is of use here."""
        return not self.types or task_type in self.types

    def ring(self, task_type: str | None) -> None:
        """Wake it: for a task of a type, or because nothing more will come."""
        self.called_for = task_type
        self._bell.set()

    async def called(self) -> None:
        """Wait until it was called since the last look began."""
        self._is_idle = True
        try:
            await self._bell.wait()
        finally:
            self._is_idle = False

    def begin_look(self) -> None:
        """Look for what came until now. What comes from here on may be missed, and is another call."""
        self._bell.clear()
        self.looking_for, self.called_for = self.called_for, None

    def use_call(self) -> None:
        """Take the call as answered by the look: nobody else needs to be called for that task."""
        self.looking_for = None


class Line:
    """Waiters by organisation, in the order in which they came."""

    def __init__(self, unheard: Unheard) -> None:
        """Begin empty and open; `unheard` is told of tasks for which nobody here could be called."""
        self.is_open = True
        self._unheard = unheard
        self._places = count()
        self._waiters: dict[str, dict[int, Waiter]] = {}
        self._length = 0

    @property
    def total(self) -> int:
        """Return how many wait, of all organisations."""
        return self._length

    def has_room_for(self, org_id: str) -> bool:
        """Tell whether one more of an organisation can join: in a full line, up to its share of it."""
        organisations = len(self._waiters) + (org_id not in self._waiters)
        return self._length < MOST_WAITING or self.length(org_id) < MOST_WAITING // organisations

    def join(self, org_id: str, types: Iterable[str], offer: Offer | None = None) -> Waiter:
        """Stand at the end of the line; where it is full, one of the organisation with the most goes."""
        if self._length >= MOST_WAITING:
            self.send_away(next(iter(max(self._waiters.values(), key=len).values())))
        waiter = Waiter(next(self._places), org_id, frozenset(types), offer)
        self._waiters.setdefault(org_id, {})[waiter.place] = waiter
        self._length += 1
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Go; calls that were not used go to the next ones."""
        line = self._waiters.get(waiter.org_id, {})
        if line.pop(waiter.place, None) is None:
            return
        self._length -= 1
        if not line:
            del self._waiters[waiter.org_id]
        for task_type in (waiter.looking_for, waiter.called_for):
            if task_type is not None:
                self.call(waiter.org_id, task_type)

    def first(self, org_id: str, task_type: str) -> Waiter | None:
        """Return who would be called next for a task of that type, where it does nothing but wait."""
        for waiter in self._waiters.get(org_id, {}).values():
            if waiter.fits(task_type) and waiter.is_idle:
                return waiter
        return None

    def send_away(self, waiter: Waiter) -> None:
        """Answer one with nothing; its calls go to the next ones."""
        self.leave(waiter)
        waiter.is_sent_away = True
        waiter.ring(None)

    def call(
        self, org_id: str, task_type: str, tasks: int = 1, *, after: int = -1, asked: tuple[int, ...] = ()
    ) -> None:
        """Call as many waiters as tasks came, from the front of the line or after a place.

        Who looks for a task already is called where nobody else is left: that look may have begun too
        early. What is left then is for the waiters of other servers, but for those that were asked.
        """
        busy = []
        for waiter in self._waiters.get(org_id, {}).values():
            if tasks <= 0:
                return
            is_busy = waiter.called_for is not None or waiter.is_given
            if waiter.place <= after or is_busy or not waiter.fits(task_type):
                continue
            if waiter.looking_for is not None:
                busy.append(waiter)
                continue
            waiter.ring(task_type)
            tasks -= 1
        for waiter in busy[: max(0, tasks)]:
            waiter.ring(task_type)
            tasks -= 1
        if tasks > 0:
            self._unheard(TasksPending(org_id, task_type, tasks, asked))

    def call_all(self) -> None:
        """Let everybody look again."""
        for line in self._waiters.values():
            for waiter in line.values():
                waiter.ring(waiter.called_for)

    def length(self, org_id: str) -> int:
        """Return how many wait in an organisation."""
        return len(self._waiters.get(org_id, ()))

    def close(self) -> None:
        """Send everybody away: the server stops."""
        self.is_open = False
        for line in self._waiters.values():
            for waiter in line.values():
                waiter.ring(None)
