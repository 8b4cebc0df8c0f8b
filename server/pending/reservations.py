"""Soft reservations: a task that was just shown to one agent is hidden from others for a moment.

Lists then do not make agents race for the same task. Only a list is touched, never a claim: whoever
claims first has the task. An agent hides a task once in a while only, so one that cannot take it
never hides it for good.
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
MOST_RESERVED: Final = 10_000  # tasks; further ones are shown to everybody
MOST_REMEMBERED: Final = 100_000  # pairs of task and agent; the oldest are forgotten first

Expired = Callable[[str, str], None]  # organisation, task type


class Reservation(Struct, frozen=True):
    """A task that was shown to somebody; `agent` None: to one without a name, hidden from nobody."""

    org_id: str
    task_id: str
    task_type: str
    agent: str | None
    until: float  # by the event loop's clock


class Reservations:
    """What was shown in the last moment, in memory: a restart forgets it, and nothing is lost.

    No timer runs while nothing is reserved.
    """

    def __init__(self, expired: Expired) -> None:
        """Call `expired` for each reservation that ends while the task is still pending."""
        self._expired = expired
        self._reserved: dict[tuple[str, str], Reservation] = {}  # oldest first, as all last equally long
        self._hidden: dict[str, dict[str, str]] = {}  # organisation -> task -> agent
        self._remembered: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def hidden_from(self, org_id: str, agent: str | None) -> frozenset[str]:
        """Return the tasks that are shown to other agents now; who has no name sees everything."""
        if agent is None:
            return frozenset()
        hidden = self._hidden.get(org_id, {})
        return frozenset(task_id for task_id, holder in hidden.items() if holder != agent)

    def reserve(self, org_id: str, tasks: Iterable[tuple[str, str]], agent: str | None) -> None:
        """Hide tasks (id and type) from other agents for a moment, where that is allowed."""
        now = asyncio.get_running_loop().time()
        for task_id, task_type in tasks:
            if self._may_reserve(org_id, task_id, agent, now):
                self._add(Reservation(org_id, task_id, task_type, agent, now + RESERVED_S))
        self._set_timer()

    def taken(self, org_id: str, task_id: str) -> None:
        """Forget a task that is not pending any more."""
        if (reservation := self._reserved.pop((org_id, task_id), None)) is not None:
            self._unhide(reservation)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _may_reserve(self, org_id: str, task_id: str, agent: str | None, now: float) -> bool:
        if (org_id, task_id) in self._reserved or len(self._reserved) >= MOST_RESERVED:
            return False
        return agent is None or self._remembered.get((org_id, task_id, agent), now) <= now

    def _add(self, reservation: Reservation) -> None:
        self._reserved[reservation.org_id, reservation.task_id] = reservation
        if reservation.agent is None:
            return
        self._hidden.setdefault(reservation.org_id, {})[reservation.task_id] = reservation.agent
        key = (reservation.org_id, reservation.task_id, reservation.agent)
        self._remembered[key] = reservation.until - RESERVED_S + AGAIN_AFTER_S
        self._remembered.move_to_end(key)
        if len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)

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
            self.taken(reservation.org_id, reservation.task_id)
        for reservation in due:
            self._expired(reservation.org_id, reservation.task_type)
        self._set_timer()
