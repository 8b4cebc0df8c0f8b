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

__all__ = ["Offer", "Offers", "Requester", "is_same_sending", "is_simple"]

MOST_REMEMBERED: Final = 10_000  # agents; of the organisation with the most, who was silent for longest goes
LATE_S: Final = 300.0  # what is older than the newest is late; after so long, that agent's clock was set back


async def allowed() -> bool:
    """Say yes."""
    return True


def unnoted(_: Given) -> None:
    """Tell nobody."""


class Requester(Struct, frozen=True):
    """Who sent an offer, for as long as its request waits."""

    is_there: Callable[[], bool]  # it can still be answered
    is_allowed: Callable[[], Awaitable[bool]] = allowed  # its token holds still
    note: Callable[[Given], None] = unnoted  # is told, once, of what was committed


NOBODY: Final = Requester(lambda: False)


class Gift:
    """What an offer gets: one state, however often the offer is sent."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.run: tuple[str, str] | None = None  # the ids of the task, and of the run
        self.giving: asyncio.Event | None = None  # is set when that is over


class Offer:
    """One offer of one agent, as it came this time."""

    def __init__(self, id_: str, agent: str, claim: CreateRun, clock: Clock, requester: Requester) -> None:
        """Offer a claim of any task, whose `started_at` is when it was sent by its agent's clock."""
        assert isinstance(claim.fields.started_at, int)
        self.id = id_
        self.agent = agent
        self.started_at = claim.fields.started_at  # when it was sent, by its agent's clock in milliseconds
        self.came_mono = clock.mono()
        self.requester = requester
        self.give_up: Callable[[], None] = lambda: None  # have its request wait no longer
        self.given: Given | None = None  # until it is answered
        self._claim: CreateRun | None = claim  # until it is answered
        self._clock = clock
        self._gift = Gift()

    @property
    def run(self) -> tuple[str, str] | None:
        """Return the ids of the task that it got, this time or before, and of the run."""
        return self._gift.run

    @property
    def is_giving(self) -> bool:
        """Tell whether a task is being claimed for it."""
        return self._gift.giving is not None

    def go_on_from(self, last: Offer) -> None:
        """Be the same offer, sent again: what it gets, or has got, it gets once."""
        self._gift = last._gift

    def claim(self) -> CreateRun:
        """Return the claim of a task that is made now: the run starts with the task, not with the wait."""
        assert self._claim is not None
        waited_ms = int((self._clock.mono() - self.came_mono) * 1000)
        fields = structs.replace(self._claim.fields, started_at=self.started_at + waited_ms)
        return structs.replace(self._claim, fields=fields)

    def begin_giving(self) -> None:
        """Have a task claimed for it; `end_giving` tells what came of that."""
        self._gift.giving = asyncio.Event()

    def end_giving(self, given: Given | None) -> None:
        """Take what it got."""
        assert self._gift.giving is not None
        self._gift.giving.set()
        self._gift.giving = None
        if given is not None and given.run is not None:
            self.given, self._gift.run = given, (given.task.task.id, given.run.run.id)
            self.requester.note(given)

    def forget_request(self) -> None:
        """Hold nothing more of the request by which it came; which run it got is known on."""
        self.requester, self.give_up, self.given, self._claim = NOBODY, lambda: None, None, None

    async def settled(self) -> None:
        """Wait until no task is being claimed for it, by whichever of its requests."""
        while self._gift.giving is not None:
            await self._gift.giving.wait()


class Offers:
    """The newest offer of each agent: an older one that arrives late gets nothing."""

    def __init__(self) -> None:
        """Know of none."""
        self._newest: dict[str, OrderedDict[str, Offer]] = {}  # by organisation and agent
        self._total = 0

    def begin(self, org_id: str, offer: Offer) -> Offer | None:
        """Take an offer; return the last one of the same agent.

        Raises:
            Refused: ``offer_outdated``, a younger one of its agent was here.
        """
        last = self._last(org_id, offer)
        if last is not None and not _follows(offer, last):
            raise Refused(
                Reason.CONFLICT,
                "offer_outdated",
                f"A younger offer than {offer.id} of {offer.agent} came before",
            )
        if last is not None and last.id == offer.id:
            offer.go_on_from(last)
        self._remember(org_id, offer, is_new=last is None)
        return last

    def is_newest(self, org_id: str, offer: Offer) -> bool:
        """Tell whether its agent has sent none since."""
        return self._last(org_id, offer) is offer

    def _last(self, org_id: str, offer: Offer) -> Offer | None:
        of_org = self._newest.get(org_id)
        return None if of_org is None else of_org.get(offer.agent)

    def _remember(self, org_id: str, offer: Offer, *, is_new: bool) -> None:
        of_org = self._newest.setdefault(org_id, OrderedDict())
        of_org[offer.agent] = offer
        of_org.move_to_end(offer.agent)
        self._total += is_new
        if self._total > MOST_REMEMBERED:
            self._forget_one_of(max(self._newest, key=lambda org: len(self._newest[org])))

    def _forget_one_of(self, org_id: str) -> None:
        self._newest[org_id].popitem(last=False)
        self._total -= 1
        if not self._newest[org_id]:
            del self._newest[org_id]


def _follows(offer: Offer, last: Offer) -> bool:
    """Tell whether an offer is the last one, once more, or a younger one."""
    if offer.id == last.id:
        return offer.started_at >= last.started_at
    return offer.started_at > last.started_at or offer.came_mono - last.came_mono > LATE_S


def is_same_sending(offer: Offer, last: Offer | None) -> bool:
    """Tell whether that is what its agent sent last and once, and somebody between sent again."""
    return last is not None and offer.id == last.id and offer.started_at == last.started_at


def is_simple(command: CreateTask) -> bool:
    """Tell whether any agent with a handler for its type may take a task, by what it says; in doubt not."""
    return (
        command.type is not None and "requires" not in command.parameters and "requires" not in command.extra
    )
