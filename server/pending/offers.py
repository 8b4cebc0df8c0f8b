"""Offers of agents that wait for a task: the run that one would begin with, whichever task it is.

A task that is made while its agent waits is claimed for it in the same transaction. In memory: after a
restart, and on another replica, an offer that comes again is taken for a new one, and a run that was made
for it and never heard of ends with its lease.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct, structs

from server.store.commands import CreateRun, CreateTask
from server.store.records import Given
from server.store.refusal import Reason, Refused
from worker.clock import Clock

__all__ = ["Offer", "Offers", "Requester", "is_simple"]

MOST_REMEMBERED: Final = 10_000  # agents; the one that was not heard of for longest is forgotten first


async def allowed() -> bool:
    """Say yes."""
    return True


class Requester(Struct, frozen=True):
    """Who sent an offer, for as long as its request waits."""

    is_there: Callable[[], bool]  # it can still be answered
    is_allowed: Callable[[], Awaitable[bool]] = allowed  # its token holds still


NOBODY: Final = Requester(lambda: False)


class Offer:
    """One offer of one agent, as it came this time."""

    def __init__(self, id_: str, agent: str, claim: CreateRun, clock: Clock, requester: Requester) -> None:
        """Offer a claim of any task, whose `started_at` is when it was sent by its agent's clock."""
        self.id = id_
        self.agent = agent
        self.requester = requester
        self.give_up: Callable[[], None] = lambda: None  # have its request wait no longer
        self.given: Given | None = None  # until it is answered
        self.run: tuple[str, str] | None = None  # the ids of the task that it got, and of the run
        self._claim = claim
        self._clock = clock
        self._came_mono = clock.mono()
        self._giving: asyncio.Event | None = None

    @property
    def started_at(self) -> int:
        """Return when it was sent: milliseconds by its agent's clock, which only grow."""
        started_at = self._claim.fields.started_at
        assert isinstance(started_at, int)
        return started_at

    @property
    def is_giving(self) -> bool:
        """Tell whether a task is being claimed for it."""
        return self._giving is not None and not self._giving.is_set()

    def claim(self) -> CreateRun:
        """Return the claim of a task that is made now: the run starts with the task, not with the wait."""
        waited_ms = int((self._clock.mono() - self._came_mono) * 1000)
        fields = structs.replace(self._claim.fields, started_at=self.started_at + waited_ms)
        return structs.replace(self._claim, fields=fields)

    def begin_giving(self) -> None:
        """Have a task claimed for it; `end_giving` tells what came of that."""
        self._giving = asyncio.Event()

    def end_giving(self, given: Given | None) -> None:
        """Take what it got."""
        assert self._giving is not None
        self._giving.set()
        if given is not None and given.run is not None:
            self.given, self.run = given, (given.task.task.id, given.run.run.id)

    def forget_request(self) -> None:
        """Hold nothing more of the request by which it came; what it got is known on."""
        self.requester, self.give_up = NOBODY, lambda: None

    async def settled(self) -> None:
        """Wait until no task is being claimed for it."""
        if self._giving is not None:
            await self._giving.wait()


class Offers:
    """The newest offer of each agent: an older one that arrives late gets nothing."""

    def __init__(self) -> None:
        """Know of none."""
        self._newest: OrderedDict[tuple[str, str], Offer] = OrderedDict()

    def begin(self, org_id: str, offer: Offer) -> Offer | None:
        """Take an offer; return the last one of the same agent.

        Raises:
            Refused: ``offer_outdated``, a younger one of its agent was here.
        """
        key = (org_id, offer.agent)
        last = self._newest.get(key)
        if last is not None and not _follows(offer, last):
            raise Refused(
                Reason.CONFLICT,
                "offer_outdated",
                f"A younger offer than {offer.id} of {offer.agent} came before",
            )
        self._newest[key] = offer
        self._newest.move_to_end(key)
        if len(self._newest) > MOST_REMEMBERED:
            self._newest.popitem(last=False)
        return last


def _follows(offer: Offer, last: Offer) -> bool:
    """Tell whether an offer is the last one, once more, or a younger one."""
    if offer.id == last.id:
        return offer.started_at >= last.started_at
    return offer.started_at > last.started_at


def is_simple(command: CreateTask) -> bool:
    """Tell whether any agent with a handler for its type may take a task, by what it says; in doubt not."""
    return (
        command.type is not None and "requires" not in command.parameters and "requires" not in command.extra
    )
