"""Ask for pending tasks, while a slot is free: one request in flight, never hammering."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping
from random import Random

import structlog

from worker.agent.bounded import remember, within
from worker.agent.candidates import choose, spread
from worker.agent.deferrals import Deferrals
from worker.agent.freshness import FRESH_S, Freshness
from worker.agent.hold_times import HoldTimes
from worker.agent.left_tasks import LeftTasks
from worker.agent.offers import Offers
from worker.agent.rooms import Rooms
from worker.api.client import JobsApi
from worker.api.errors import ApiError
from worker.api.models import Task
from worker.api.retry import Backoff
from worker.clock import Clock

__all__ = ["Poller"]

PER_PAGE = 100  # of a server that does not hand tasks out; the most that the documented API gives
SHORT_PAGE = 10  # a shorter page is the last one, whatever size a server gives its pages
HELD_S = 0.5  # a poll that brings nothing sooner was not held, whatever the answer says of it
PAGES_MAX = 20  # pages of tasks that are not for us, before we wait
CLAIM_WAIT_S = 0.5  # how long a poll waits for claims that are under way: it would list their tasks again
RACE_S = 0.25  # base of the waits after claims that others won
ECHO_S = 0.1  # base and bound of the waits after lists that held nothing but tasks just tried
ECHO_MAX_S = 2.0
OTHERS_S = 0.5  # base of the waits while all that is pending does not fit here: our server does not hold then
SKIP_S = 3.0  # how long a task that was tried is left alone: lists may lag
SKIP_MAX = 10_000  # tasks remembered as tried
log = structlog.get_logger()


class Poller:
    """The source of candidates: each one is handed out once, the freshest list first."""

    def __init__(
        self,
        api: JobsApi,
        clock: Clock,
        random: Random,
        *,
        agent_id: str,
        types: Collection[str],
        unmet: Callable[[Task], tuple[str, ...]],
        poll_interval_s: float,
        poll_max_s: float,
        long_poll_s: float,
        offers: Offers | None = None,
        deferrals: Deferrals | None = None,
        type_limits: Mapping[str, int] | None = None,
        on_poll: Callable[[bool], None] = lambda is_answered: None,
        on_step: Callable[[float], None] = lambda step_s: None,
    ) -> None:
        """Take the parts.

        `unmet` names what the machine lacks for a task, empty where it fits; `type_limits` tell of how many
        tasks of a type may be out at once; `on_poll` is told of each request whether it was answered, and
        `on_step` before each wait how long that may take, a request's own limit left out.
        """
        self._on_poll = on_poll
        self._on_step = on_step
        self._api = api
        self._offers, self._ask = offers, (offers or api).poll
        self._clock = clock
        self._agent_id = agent_id
        self._types = sorted(types)
        self._unmet = unmet
        self._deferrals = deferrals or Deferrals(clock)
        self.rooms = Rooms(self._types, type_limits or {})
        self._holds = HoldTimes(random, long_poll_s)
        self._backoff = Backoff(random, poll_interval_s, poll_max_s)
        self._faults = Backoff(random, min(1.0, poll_interval_s), poll_max_s)
        self._denials = Backoff(random, min(1.0, poll_interval_s), poll_max_s)
        self._held_until_mono = float("-inf")  # claims are denied: nothing is tried before
        self._races = Backoff(random, RACE_S, poll_max_s)
        self._echoes = Backoff(random, ECHO_S, ECHO_MAX_S)
        self._others = Backoff(random, OTHERS_S, max(OTHERS_S, poll_interval_s))
        self._out: dict[str, str] = {}  # tasks tried or executed here, until they are left: their types
        self._claiming: set[str] = set()
        self._settled = asyncio.Event()
        self._queue: deque[Task] = deque()
        self._fresh = Freshness(clock)
        self._ahead = 1  # how many more than the free slots to ask for: tasks may be short
        self._tried: OrderedDict[str, float] = OrderedDict()
        self._left = LeftTasks()
        self._has_tried = False  # the last list held tasks that were tried a moment ago
        self.idle_polls = 0  # polls in a row that brought nothing to try

    async def next(self, free: int) -> Task:
        """Return the next task to try, polling as long as there is none; `free` slots can take one."""
        while True:
            if (task := await self.next_or_none(free)) is not None:
                return task

    async def next_or_none(self, free: int) -> Task | None:
        """Return the next task to try; None where one more poll brought nothing."""
        self._on_step(self.held_s)
        if (held_s := self.held_s) > 0.0:
            await asyncio.sleep(held_s)
        if (task := self._pop()) is not None:
            return task
        self._adapt()
        await self._wait_for_claims()
        await self._refill(free)
        return self._pop()

    def at_hand(self) -> Task | None:
        """Return the next task to try of the last list, without a request; None where it gives none now."""
        return None if self.held_s > 0.0 else self._pop()

    def _pop(self) -> Task | None:
        """Hand out the next candidate that is fresh and was not tried a moment ago."""
        while self._queue and self._fresh.left_s > 0.0:
            task = self._queue.popleft()
            if self._is_free(task):
                self._out[task.id] = task.type or ""
                self.rooms.take(task.type or "")
                self._claiming.add(task.id)
                self._try(task.id)
                return task
        return None

    def settle(self, task_id: str, *, is_won: bool) -> None:
        """Know that a claim is decided, either way.

        Where a server shows its tasks to all at once, who loses leaves it alone for a while, longer each
        time until a claim is won: else each task that comes would make a large fleet ask ever more often.
        Then it begins with a new list.
        """
        self._decide(task_id)
        if is_won:
            self._backoff.reset()
            self._races.reset()
            self._fresh.win()
        elif not self._api.traits.claims_unique:
            self._held_until_mono = max(self._held_until_mono, self._clock.mono() + self._races.next_s())
            self._queue.clear()  # others took more of it meanwhile: a new list costs no more than a claim
            self._fresh.lose()

    def _decide(self, task_id: str) -> None:
        self._claiming.discard(task_id)
        if not self._claiming:
            self._settled.set()

    async def _wait_for_claims(self) -> None:
        if self._claiming:
            self._settled.clear()
            self._on_step(CLAIM_WAIT_S)
            await within(self._settled.wait(), CLAIM_WAIT_S)

    def leave(self, task_id: str) -> None:
        """Leave a task alone for a moment: it is somebody else's, or just ended.

        Until then it is not handed out again, however long it takes and whatever lists say: a second
        attempt beside the first would take the same run for another agent's.
        """
        if (type_ := self._out.pop(task_id, None)) is not None:
            self.rooms.give_back(type_)
        self._decide(task_id)
        self._try(task_id)

    async def pause(self) -> None:
        """Wait, longer each time: claims cannot be written down."""
        await asyncio.sleep(self._faults.next_s())

    def hold(self, retry_after_s: float | None = None) -> None:
        """Hand out nothing for a while, longer each time: a claim was denied.

        No slot waits meanwhile, so that nothing holds up a drain. Slots that are denied together count once.
        """
        now = self._clock.mono()
        if now >= self._held_until_mono:
            self._held_until_mono = now + self._denials.next_s(retry_after_s)
        elif retry_after_s is not None:
            self._held_until_mono = max(self._held_until_mono, now + retry_after_s)

    @property
    def held_s(self) -> float:
        """How long nothing is handed out still, because claims were denied or lost."""
        return max(0.0, self._held_until_mono - self._clock.mono())

    def release(self) -> None:
        """Know that a claim was answered, either way."""
        self._denials.reset()

    def rouse(self) -> None:
        """Know that a run has ended or its outcome was told: its task may be pending again."""
        self.idle_polls = 0

    def _adapt(self) -> None:
        """Ask for more ahead where a list is used up long before it is stale, for less where some is left."""
        if self._queue:
            self._ahead = max(1, self._ahead // 2)
        elif self._fresh.left_s > FRESH_S / 2:
            self._ahead = min(PER_PAGE, self._ahead * 2)
        self._queue.clear()

    async def _refill(self, free: int) -> None:
        """Poll once, and wait where that brought nothing."""
        try:
            wait_s = await self._poll(free)
        except ApiError as error:
            self._on_poll(False)
            self._holds.begin_anew()
            wait_s = self._faults.next_s(error.retry_after_s)
            log.warning("poll.failed", error=str(error), wait_s=round(wait_s, 2))
            self._on_step(wait_s)
            await asyncio.sleep(wait_s)
            return
        self._faults.reset()
        if self._queue:
            self.idle_polls = 0
            return
        self.idle_polls += not (self._has_tried or self._deferrals.expects_any())
        self._on_step(wait_s)
        await within(self.rooms.widened(), wait_s)

    async def _poll(self, free: int) -> float:
        """Fill the queue; returns how long to wait where that brought nothing."""
        is_ours = self._api.traits.claims_unique  # it hands each task to one agent, in its own order
        per_page = min(PER_PAGE, free + self._ahead) if is_ours else PER_PAGE
        tried, left, deferred, was_held, is_hasty = 0, 0, 0, False, False
        types = self.rooms.begin()
        seen: set[str] = set()
        for page in range(1, PAGES_MAX + 1):
            wait_s = self._holds.next_s() if page == 1 else 0.0
            asked_mono = self._clock.mono()
            self._on_step(wait_s)
            poll = await self.rooms.unless_widened(
                self._ask(types=types, page=page, per_page=per_page, wait_s=wait_s)
            )
            if poll is None:
                return 0.0  # of another type there is room now: ask for that too
            self._on_poll(True)
            if poll.is_claimed:
                await self._begin_with(poll.tasks[0])
                return 0.0
            choice = choose(
                poll.tasks, self._types, self._lacking, self._is_tried, self._deferrals.is_waiting
            )
            self._left.tell(choice.left)
            if choice.candidates:
                is_ours = self._api.traits.claims_unique  # the first answer says so
                self._queue += choice.candidates if is_ours else spread(choice.candidates, self._agent_id)
                self._fresh.begin(is_shared=not is_ours)
                self._echoes.reset()
                self._others.reset()
                return 0.0
            tried += choice.tried
            left += len(choice.left)
            deferred += choice.deferred
            was_held = poll.waited and not poll.tasks
            is_hasty = self._clock.mono() - asked_mono < HELD_S
            known = len(seen)
            seen.update(task.id for task in poll.tasks)
            if len(poll.tasks) < (per_page if is_ours else SHORT_PAGE) or len(seen) == known:
                break  # the last page; or the same one again, of a server that does not page
        self._has_tried = tried > 0
        if tried:
            return self._echoes.next_s()
        if ((left or deferred) and is_ours) or (was_held and is_hasty):
            return self._until_due_s(self._others.next_s())
        return 0.0 if was_held else self._until_due_s(self._backoff.next_s())

    async def _begin_with(self, task: Task) -> None:
        """Have a task that is ours be the next one; who could not begin it must not keep it."""
        if self._offers is not None and not self._is_free(task):
            await self._offers.give_back(task, "its agent has no room for it")
        else:
            self._queue.append(task)
            self._fresh.begin(is_shared=False)

    def _until_due_s(self, wait_s: float) -> float:
        """Wait no longer than until a task may be tried again that failed."""
        due_s = self._deferrals.next_s()
        return wait_s if due_s is None else min(wait_s, max(due_s, OTHERS_S))

    def _lacking(self, task: Task) -> tuple[str, ...]:
        """Name what the machine lacks for a task; a place among those of its type counts last."""
        return self._unmet(task) or self.rooms.unmet(task.type or "")

    def _is_tried(self, task_id: str) -> bool:
        return task_id in self._out or self._tried.get(task_id, 0.0) > self._clock.mono()

    def _is_free(self, task: Task) -> bool:
        """Tell whether a candidate may be tried still: things change while it waits in the queue."""
        is_early = self._deferrals.is_waiting(task.id) or not self.rooms.has_room(task.type or "")
        return not (is_early or self._is_tried(task.id))

    def _try(self, task_id: str) -> None:
        remember(self._tried, task_id, self._clock.mono() + SKIP_S, SKIP_MAX)
