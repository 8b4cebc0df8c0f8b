"""Soft reservations: a task that was just shown to one agent is hidden from others for a moment.

Lists then do not make agents race for the same task. Only a list is touched, never a claim: whoever
claims first has the task. An agent hides a task once in a while only, so one that cannot take it
never hides it for good; a few times where it took tasks that stood before it in the same list, and just
did not come so far.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

__all__ = ["Reservation", "Reservations"]

RESERVED_S: Final = 1.0  # a claim follows its list within milliseconds; this covers slow networks
AGAIN_AFTER_S: Final = 30.0  # how long the same agent cannot hide the same task again
MOST_TIMES: Final = 5  # that one agent hides a task within that time
MOST_RESERVED: Final = 10_000  # tasks; further ones are shown to everybody
MOST_REMEMBERED: Final = 100_000  # pairs of task and agent; the oldest are forgotten first

Expired = Callable[[str, str], None]  # organisation, task type


class Shown(Struct):
    """One list, in the order of which an agent tries."""

    reached: int = -1  # the last place of which the task was taken


class Hidden(Struct, frozen=True):
    """How often an agent has hidden a task."""

    again_at: float  # when all is forgotten
    times: int
    is_unreached: bool = False  # the last time, tasks before it were taken, and none behind it


class Reservation(Struct, frozen=True):
    """A task that was shown to somebody; `agent` None: to one without a name, hidden from nobody."""

    org_id: str
    task_id: str
    task_type: str
    agent: str | None
    until: float  # by the event loop's clock
    shown: Shown
    place: int  # in that list

    @property
    def is_unreached(self) -> bool:
        """Tell whether tasks before it in the list were taken, and none behind it."""
        return 0 <= self.shown.reached < self.place

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what its agent is remembered by."""
        return self.org_id, self.task_id, self.agent or ""


class Reservations:
    """What was shown in the last moment, in memory: a restart forgets it, and nothing is lost.

    No timer runs while nothing is reserved.
    """

    def __init__(self, expired: Expired) -> None:
        """Call `expired` for each reservation that ends while the task is still pending."""
        self._expired = expired
        self._reserved: dict[tuple[str, str], Reservation] = {}  # oldest first, as all last equally long
        self._hidden: dict[str, dict[str, str]] = {}  # organisation -> task -> agent
        self._remembered: OrderedDict[tuple[str, str, str], Hidden] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def hidden_from(self, org_id: str, agent: str | None) -> frozenset[str]:
        """Return the tasks that are shown to other agents now; who has no name sees everything."""
        if agent is None:
            return frozenset()
        hidden = self._hidden.get(org_id, {})
        return frozenset(task_id for task_id, holder in hidden.items() if holder != agent)

    def reserve(self, org_id: str, tasks: Iterable[tuple[str, str]], agent: str | None) -> None:
        """Hide tasks (id and type) from other agents for a moment, where that is allowed."""
        now, shown = asyncio.get_running_loop().time(), Shown()
        for place, (task_id, task_type) in enumerate(tasks):
            held = self._reserved.get((org_id, task_id))
            if held is not None and held.agent == agent and held.is_unreached:
                self._end(held)  # shown to it again before that: it begins anew
            if self._may_reserve(org_id, task_id, agent, now):
                self._add(Reservation(org_id, task_id, task_type, agent, now + RESERVED_S, shown, place), now)
        self._set_timer()

    def taken(self, org_id: str, task_id: str) -> None:
        """Forget a task that is not pending any more."""
        if (reservation := self._reserved.pop((org_id, task_id), None)) is not None:
            reservation.shown.reached = max(reservation.shown.reached, reservation.place)
            self._unhide(reservation)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _may_reserve(self, org_id: str, task_id: str, agent: str | None, now: float) -> bool:
        if (org_id, task_id) in self._reserved or len(self._reserved) >= MOST_RESERVED:
            return False
        if agent is None or (hidden := self._remembered.get((org_id, task_id, agent))) is None:
            return True
        return hidden.again_at <= now or (hidden.is_unreached and hidden.times < MOST_TIMES)

    def _add(self, reservation: Reservation, now: float) -> None:
        self._reserved[reservation.org_id, reservation.task_id] = reservation
        if reservation.agent is None:
            return
        self._hidden.setdefault(reservation.org_id, {})[reservation.task_id] = reservation.agent
        hidden = self._remembered.get(reservation.key)
        if hidden is None or hidden.again_at <= now:
            hidden = Hidden(now + AGAIN_AFTER_S, 0)
        self._remembered[reservation.key] = Hidden(hidden.again_at, hidden.times + 1)
        self._remembered.move_to_end(reservation.key)
        if len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)

    def _end(self, reservation: Reservation) -> None:
        """Show the task to others again; its agent may hide it again where it just did not get to it."""
        del self._reserved[reservation.org_id, reservation.task_id]
        self._unhide(reservation)
        hidden = self._remembered.get(reservation.key)
        if hidden is not None and reservation.is_unreached:
            self._remembered[reservation.key] = Hidden(hidden.again_at, hidden.times, is_unreached=True)

    def _unhide(self, reservation: Reservation) -> None:
        hidden = self._hidden.get(reservation.org_id, {})
        hidden.pop(reservation.task_id, None)
        if not hidden:
            self._hidden.pop(reservation.org_id, None)

    def _set_timer(self) -> None:
        if self._timer is None and self._reserved:
            first = next(iter(self._reserved.values()))
            self._timer = asyncio.get_running_loop().call_at(first.until, self._end_due)

    def _end_due(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        due = []
        for reservation in self._reserved.values():
            if reservation.until > now:
                break
            due.append(reservation)
        for reservation in due:
            self._end(reservation)
        for reservation in due:
            self._expired(reservation.org_id, reservation.task_type)
        self._set_timer()
