"""Offer a run instead of waiting for a list: a server of ours claims a task for it as it is made.

What such a claim means is what any claim means. It differs in when its intent is written: once the task is
known, before the handler starts. An agent that does not live to hear of its claim, or loses the answer for
good, leaves a run that ends with its lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from msgspec import Struct

from worker.agent.claim import Claim, Claiming
from worker.agent.errands import Errands
from worker.agent.identity import Identities
from worker.agent.wire_run import RunWire
from worker.api.client import JobsApi
from worker.api.errors import ApiError, Rejected
from worker.api.ids import claim_run_id
from worker.api.models import Identity, Run, Task
from worker.api.polls import Poll
from worker.clock import Clock
from worker.reporting.journal import Journal, JournalError
from worker.reporting.records import Entry

__all__ = ["Offers"]

WITHDRAW_S: Final = 2.0  # of a drain, to ask what became of an offer
REST_S: Final = 60.0  # how long none is made after one that failed; longer after each further one
REST_MOST_S: Final = 900.0
FAILURES_MAX: Final = 2  # in a row, without an answer, until offers rest
FINAL: Final = (409, 422)  # by which the API itself says that an offer has no run
STEP_S: Final = 3.0  # between the clocks while an offer is open; beyond, the time of day was set
RATE: Final = 0.9  # of the server's word how long it held one: clocks may differ as much as a lease allows
log = structlog.get_logger()


class Sent(Struct):
    """An offer that was not answered yet, and its first sending."""

    id: str
    sent_mono: float
    sent_at: datetime
    first: Identity
    times: int = 1
    is_looked_for: bool = False  # since offers rest


class Won(Struct, frozen=True):
    """A task that was claimed for an offer."""

    task: Task
    run: Run
    since_mono: float  # from when on its lease counts
    heard_mono: float  # when it was told; its lease began before


class Offers:
    """One offer at a time, of an agent that has nothing else to begin."""

    def __init__(
        self,
        claimer: Claiming,
        api: JobsApi,
        runs: RunWire,
        journal: Journal,
        identities: Identities,
        *,
        clock: Clock,
        new_id: Callable[[], str],
        is_simple: Callable[[str], bool],
        unmet: Callable[[Task], tuple[str, ...]],
        deliver: Callable[[Entry], None],
        is_on: bool,
    ) -> None:
        """Take the parts; `claimer` claims what no offer has brought.

        `is_simple` tells of a type whether any task of it that requires nothing may begin here; `unmet` names
        what is lacking for a task all the same, and `deliver` is given what is given back.
        """
        self._claimer = claimer
        self._api = api
        self._runs = runs
        self._journal = journal
        self._identities = identities
        self._clock = clock
        self._new_id = new_id
        self._is_simple = is_simple
        self._unmet = unmet
        self._deliver = deliver
        self._is_on = is_on
        self._sent: Sent | None = None
        self._won: dict[str, Won] = {}
        self._giving = Errands()
        self._failures = 0
        self._rest_s = REST_S
        self._rests_until_mono = float("-inf")

    async def poll(self, *, types: Sequence[str], page: int, per_page: int, wait_s: float) -> Poll:
        """Ask for a list; where it would be held, with an offer, if the server takes that.

        A task that was claimed is the first of the list, and `is_claimed`.

        Raises: the errors of `worker.api.errors`.
        """
        poll = None
        if wait_s >= 1 and self._may_ask(types):
            poll = await self._ask(types, per_page, wait_s)
        elif self._sent is not None and not self._sent.is_looked_for:
            poll = await self._look(self._sent, types, per_page)
        if poll is None:
            poll = await self._api.poll(types=types, page=page, per_page=per_page, wait_s=wait_s)
        return poll

    def _may_ask(self, types: Sequence[str]) -> bool:
        traits = self._api.traits
        if not (self._is_on and traits.takes_offers and traits.claims_unique):
            return False
        return self._clock.mono() >= self._rests_until_mono and all(map(self._is_simple, types))

    async def _ask(self, types: Sequence[str], per_page: int, wait_s: float) -> Poll | None:
        """Make an offer, the last one again where that was not answered; None where it is refused."""
        try:
            poll, sent = await self._send(types, per_page=per_page, wait_s=wait_s)
        except Rejected as error:
            self._forget(error)
            self._rest(error)
            return None
        except ApiError as error:
            self._failures += 1
            if self._failures >= FAILURES_MAX:
                self._rest(error)
            raise
        self._failures, self._rest_s = 0, REST_S
        return await self._taken(poll, sent)

    async def _look(self, open_: Sent, types: Sequence[str], per_page: int) -> Poll | None:
        """Ask once, without a wait, what became of an offer; None where a list is to be asked for."""
        open_.is_looked_for = True
        try:
            poll, sent = await self._send(types, per_page=per_page, wait_s=0.0)
        except ApiError as error:
            self._forget(error)
            log.info("offer.not_found", error=str(error))
            return None
        poll = await self._taken(poll, sent)
        return poll if poll.is_claimed else None

    def _forget(self, error: ApiError) -> None:
        """Be done with an offer that has no run: it was never sent but this once, or the API says so."""
        is_only = self._sent is not None and self._sent.times == 1 and isinstance(error, Rejected)
        if is_only or (error.is_documented and error.status in FINAL):
            self._sent = None

    async def claim(self, task: Task) -> Claim | None:
        """Return the claim that an offer brought, its intent written; claim the task where none did.

        Raises: JournalError where the intent cannot be written; the run is left to its lease.
        """
        won = self._won.pop(task.id, None)
        if won is None or self._is_over(won):
            return await self._claimer.claim(task)
        entry = self._entry(task, won.run)
        if entry.run_id in self._journal.entries:  # the server was set back to before that run
            log.error("offer.left", run_id=entry.run_id, hint="the journal has another end of it")
            return None
        await self._journal.intent(entry)
        return Claim(task=task, run=won.run, identity=identity_of(won.run), since_mono=won.since_mono)

    async def give_back(self, task: Task, why: str) -> None:
        """Have a task pending again that was claimed by an offer and is not begun; else nothing happens.

        It goes on where who waits for it is cancelled: an entry that nobody delivers would keep its task
        from this agent for ever. `settle` lets it end.
        """
        if (won := self._won.pop(task.id, None)) is not None:
            await asyncio.wait({self._giving.start(self._give_back(won, why))})

    async def settle(self, limit_s: float) -> None:
        """Let what is given back be written down, within the limit."""
        await self._giving.settle(limit_s)

    async def _give_back(self, won: Won, why: str) -> None:
        entry = self._entry(won.task, won.run)
        if entry.run_id in self._journal.entries:
            return
        try:
            await self._journal.intent(entry)
            await self._journal.terminal(
                entry.run_id, self._runs.lost_report(identity_of(won.run), why), requeue=True
            )
        except JournalError as error:
            log.error("journal.refused", error=str(error), hint="the run is left to its lease")
        if (known := self._journal.entries.get(entry.run_id)) is not None and known.has_outcome:
            self._deliver(known)

    async def withdraw(self) -> None:
        """At the end: give back what was claimed and is not begun; asks once what became of an open offer."""
        if self._sent is not None:
            try:
                async with asyncio.timeout(WITHDRAW_S):
                    await self._taken(*await self._send((), per_page=1, wait_s=0.0))
            except (TimeoutError, ApiError) as error:
                log.info("offer.not_withdrawn", error=str(error), hint="a run of it ends with its lease")
        for won in list(self._won.values()):
            await self.give_back(won.task, "its agent was told to stop before it could begin")

    async def _send(self, types: Sequence[str], *, per_page: int, wait_s: float) -> tuple[Poll, Sent]:
        identity, now = self._identities.next(), self._clock.mono()
        if self._sent is None:
            sent = self._sent = Sent(self._new_id(), now, self._clock.now(), identity)
        else:
            sent = self._sent
            sent.times += 1
        body: dict[str, Any] = self._runs.offer_body(sent.id, identity)
        poll = await self._api.offer(body, types=types, per_page=per_page, wait_s=wait_s)
        self._sent = None
        return poll, sent

    async def _taken(self, poll: Poll, sent: Sent) -> Poll:
        """Keep what an answer says that was claimed, where that can be."""
        if (run := poll.run) is None:
            return poll
        task = poll.tasks[0] if poll.tasks else None
        if task is None or not is_claim_of(run, task, sent.first):
            self._rest(f"run {run.id} is none that was offered")
            return Poll(poll.tasks[1:], poll.waited)
        assert run.started_at is not None
        self._identities.go_on_after(run.started_at)
        self._won[task.id] = Won(task, run, self._since_mono(run, sent), self._clock.mono())
        if reasons := self._unmet(task) or self._steps(sent):
            await self.give_back(task, f"it cannot begin here: {'; '.join(reasons)}")
            return Poll(poll.tasks[1:], poll.waited)
        return poll

    def _since_mono(self, run: Run, sent: Sent) -> float:
        """Return from when on a lease counts: the sending, and what the server says that it waited then."""
        if sent.times > 1 or run.started_at is None:
            return sent.sent_mono
        waited_s = (run.started_at - sent.first.started_at).total_seconds()
        return min(sent.sent_mono + RATE * waited_s, self._clock.mono())

    def _steps(self, sent: Sent) -> tuple[str, ...]:
        """Say that the time of day was set since an offer was sent: the run would show a wrong duration."""
        passed = timedelta(seconds=self._clock.mono() - sent.sent_mono)
        step_s = (self._clock.now() - sent.sent_at - passed).total_seconds()
        return (f"the clock was set by {step_s:.0f} s meanwhile",) if abs(step_s) > STEP_S else ()

    def _is_over(self, won: Won) -> bool:
        """Tell whether a lease is over for certain; where it may be, the attempt waits for a report."""
        return won.run.lease_s is not None and self._clock.mono() >= won.heard_mono + won.run.lease_s

    def _entry(self, task: Task, run: Run) -> Entry:
        identity = identity_of(run)
        return self._runs.entry(task, run.id, identity, self._runs.claim_body(task, run.id, identity))

    def _rest(self, why: object) -> None:
        self._failures = 0
        if self._sent is not None:
            self._sent.is_looked_for = False
        self._rests_until_mono = self._clock.mono() + self._rest_s
        log.info("offer.failed", error=str(why), rest_s=self._rest_s)
        self._rest_s = min(2 * self._rest_s, REST_MOST_S)


def is_claim_of(run: Run, task: Task, first: Identity) -> bool:
    """Tell whether a run is what our claim of a task would be: under the id that all agents compute alike."""
    return (
        run.id == claim_run_id(task.id)
        and run.task_id == task.id
        and run.pod_id == first.pod_id
        and run.started_at is not None
        and run.started_at >= first.started_at
        and not run.raw.get("stoppedAt")
    )


def identity_of(run: Run) -> Identity:
    """Return whose a started run is."""
    assert run.pod_id is not None
    assert run.started_at is not None
    return Identity(run.pod_id, run.started_at)
