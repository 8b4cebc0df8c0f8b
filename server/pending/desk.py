"""The desk that hands out pending tasks: at once, or after waiting in line."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec
import structlog

from server.pending.deferred import Deferred
from server.pending.line import Line, Waiter
from server.pending.offers import Offer, Offers, is_same_sending, is_simple
from server.pending.reservations import Reservations
from server.store.changes import Change, TaskDeferred, TasksPending, TaskTaken
from server.store.commands import CreateTask, GiveTask
from server.store.queries import TaskQuery
from server.store.records import Given, TaskAnswer
from server.store.refusal import Refused, StoreBusy, StoreFailed
from server.store.store import Store

__all__ = ["Desk"]

MOST_RESERVED_AT_ONCE: Final = 32  # tasks of one list; an agent takes as many as it has slots
log = structlog.get_logger(__name__)


class Desk:
    """Lists claimable tasks so that agents neither race nor poll.

    Nothing runs while nothing happens: waiters are woken by commits, and a reservation that ends
    unused wakes one more.
    """

    def __init__(self, store: Store) -> None:
        """Hand out the tasks of a store; give `on_changes` to it as listener."""
        self._store = store
        self._line = Line(store.pass_on)
        self._reservations = Reservations(self._call)
        self._deferred = Deferred(self._call)
        self._offers = Offers()

    @property
    def waiting(self) -> int:
        """Return how many requests wait for a task."""
        return self._line.total

    def on_changes(self, changes: Sequence[Change]) -> None:
        """Hear what was committed."""
        came = Counter[tuple[str, str, tuple[int, ...]]]()
        for change in changes:
            if isinstance(change, TaskTaken):
                self._reservations.taken(change.org_id, change.task_id)
                self._deferred.taken(change.org_id, change.task_id)
            elif isinstance(change, TaskDeferred):
                if self._deferred.add(change):
                    came[change.org_id, change.type, ()] += 1
            elif isinstance(change, TasksPending):
                came[change.org_id, change.type, change.asked] += change.count
            else:
                self._line.call_all()
        for (org_id, task_type, asked), tasks in came.items():
            self._line.call(org_id, task_type, tasks, asked=asked)

    def close(self) -> None:
        """Answer everybody who waits with an empty list, now and from now on."""
        self._line.close()
        self._reservations.close()
        self._deferred.close()

    async def look(self, query: TaskQuery, agent: str | None) -> list[TaskAnswer]:
        """Return a page of claimable tasks, without waiting."""
        found = await self._visible(query, agent)
        if agent is not None:
            self._reserve(query.org_id, found, agent)
        return found

    def has_room_for(self, org_id: str) -> bool:
        """Tell whether one more of an organisation can wait; else it is answered at once."""
        return self._line.has_room_for(org_id)

    async def create(self, command: CreateTask) -> TaskAnswer:
        """Make a task; where an agent waits that offered to begin one like it, it has it at once."""
        waiter = None
        if command.type is not None and is_simple(command):
            waiter = self._line.first(command.org_id, command.type)
        if waiter is None or waiter.offer is None or not waiter.offer.requester.is_there():
            return await self._store.apply(command)
        return await self._give(command, waiter, waiter.offer)

    async def _give(self, command: CreateTask, waiter: Waiter, offer: Offer) -> TaskAnswer:
        offer.begin_giving()
        given: Given | None = None
        try:
            if await offer.requester.is_allowed() and _waits_still(waiter, offer):
                given = await self._store.apply(GiveTask(task=command, claim=offer.claim()))
        except (Refused, StoreBusy, StoreFailed):
            raise
        except Exception:  # nothing was written; what an offer says is no matter of who makes a task
            log.exception("offer.not_given", consequence="its request ends, and the task is made without it")
        finally:
            offer.end_giving(given)
            waiter.ring(waiter.called_for)
        if given is None:  # its token does not hold any more, its client has gone, or it failed
            self._line.send_away(waiter)
            return await self._store.apply(command)
        await asyncio.sleep(0)  # who offered is answered before who made the task
        return given.task

    async def offer(
        self, query: TaskQuery, offer: Offer, wait_s: float
    ) -> tuple[list[TaskAnswer], Given | None]:
        """Wait as `wait` does, or until a task was claimed for an offer; without a time, tell what it got.

        Raises:
            Refused: ``offer_outdated``.
        """
        last = self._offers.begin(query.org_id, offer)
        try:
            return await self._offered(query, offer, last, wait_s)
        finally:
            offer.forget_request()

    async def _offered(
        self, query: TaskQuery, offer: Offer, last: Offer | None, wait_s: float
    ) -> tuple[list[TaskAnswer], Given | None]:
        if last is not None:
            await self._end(last)
        if not self._offers.is_newest(query.org_id, offer):  # its agent has sent another one meanwhile
            return [], None
        if offer.run is not None:
            return [], await self._got(query.org_id, *offer.run)
        if not wait_s or is_same_sending(offer, last):
            return [], None
        try:
            found = await self.wait(query, offer.agent, wait_s, offer)
        finally:  # also where its client goes meanwhile: what is committed for it is noted
            await offer.settled()
        return found, offer.given

    async def _end(self, last: Offer) -> None:
        """Let the last request of an agent wait no longer: it has come again."""
        last.give_up()
        await last.settled()

    async def _got(self, org_id: str, task_id: str, run_id: str) -> Given | None:
        """Return what an offer got when it came first, if that goes on."""
        task, run = await self._store.task(org_id, task_id), await self._store.run(org_id, run_id)
        return None if task is None or run is None or run.run.stopped_at is not None else Given(task, run)

    async def wait(
        self, query: TaskQuery, agent: str | None, wait_s: float, offer: Offer | None = None
    ) -> list[TaskAnswer]:
        """Return a page of claimable tasks as soon as there are any; empty after the time."""
        if not (self._line.is_open and self.has_room_for(query.org_id)):
            return await self.look(query, agent)
        waiter = self._line.join(query.org_id, query.types, offer)
        if offer is not None:
            offer.give_up = partial(self._line.send_away, waiter)
        try:
            async with asyncio.timeout(wait_s):
                return await self._served(waiter, query, agent)
        except TimeoutError:
            return []
        finally:
            self._line.leave(waiter)

    async def _served(self, waiter: Waiter, query: TaskQuery, agent: str | None) -> list[TaskAnswer]:
        # In the line before the first look: what comes in between is not missed.
        while not (found := await self._seen_by(waiter, query, agent)):
            self._give_up_call(waiter, query)
            if waiter.is_sent_away or not self._line.is_open:
                return []
            await waiter.called()
            if waiter.is_given or waiter.is_sent_away:  # who may have gone is shown nothing more
                return []
        found = self._share(found)
        waiter.use_call()
        self._reserve(query.org_id, found, agent)
        return found

    async def _seen_by(self, waiter: Waiter, query: TaskQuery, agent: str | None) -> list[TaskAnswer]:
        waiter.begin_look()
        return await self._visible(query, agent)

    def _give_up_call(self, waiter: Waiter, query: TaskQuery) -> None:
        """Nothing here for this waiter; one that looks at a part only lets the next one look."""
        task_type = waiter.looking_for
        waiter.use_call()
        if task_type is not None and (query.job_ids or query.page.number > 1):
            self._line.call(waiter.org_id, task_type, after=waiter.place)

    def _share(self, found: list[TaskAnswer]) -> list[TaskAnswer]:
        """Leave some for the others in line, who were called for the same tasks."""
        waiting = max(1, self._line.length(found[0].task.org_id))  # who was sent away is not in it
        return found[: -(-len(found) // waiting)]

    async def _visible(self, query: TaskQuery, agent: str | None) -> list[TaskAnswer]:
        while True:
            found = await self._store.tasks(
                msgspec.structs.replace(query, hidden=self._hidden_from(query.org_id, agent))
            )
            # What was shown to others while the database looked is not shown again.
            hidden = self._hidden_from(query.org_id, agent)
            seen = [answer for answer in found if answer.task.id not in hidden]
            if seen or not found:
                return seen

    def _hidden_from(self, org_id: str, agent: str | None) -> frozenset[str]:
        return self._reservations.hidden_from(org_id, agent) | self._deferred.hidden_from(org_id, agent)

    def _reserve(self, org_id: str, found: list[TaskAnswer], agent: str | None) -> None:
        shown = ((answer.task.id, answer.task.type) for answer in found[:MOST_RESERVED_AT_ONCE])
        self._reservations.reserve(org_id, shown, agent)

    def _call(self, org_id: str, task_type: str) -> None:
        self._line.call(org_id, task_type)


def _waits_still(waiter: Waiter, offer: Offer) -> bool:
    return offer.requester.is_there() and not waiter.is_sent_away
