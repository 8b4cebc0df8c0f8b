"""When a request is made again: the only place that knows. Each policy is bounded or says why not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any, Final, TypeVar

import structlog
from msgspec import Struct
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from worker.api.end import End, last_wait_s
from worker.api.errors import ApiError, Forbidden, RateLimited, Unauthorized, Unknown
from worker.api.reach import Reach
from worker.clock import Clock

__all__ = ["DELIVER", "INTERACTIVE", "PATIENT", "READ", "Backoff", "Policy", "Retrier"]

RETURN_S: Final = 3.0  # within which all that waited is tried again once the server is back
APART_S: Final = 5.0  # two tries of one request are, however often a server comes and goes
SCOUT_S: Final = 15.0  # one of all waits takes no longer during an outage; as often as a run's heartbeat
T = TypeVar("T")
log = structlog.get_logger()


class Policy(Struct, frozen=True, kw_only=True):
    """How often and how long a request is repeated.

    Waits grow from `base_s` to `cap_s`, each drawn between 0 and its bound (full jitter).
    `attempts` and `limit_s` None: no bound; the caller ends it by cancelling. A wait that would end
    after the limit, as a server may ask for, is not begun.
    """

    base_s: float
    cap_s: float
    attempts: int | None = None
    limit_s: float | None = None
    on_denied: bool = False  # repeat on 401 and 403 too: the token may be renewed meanwhile


# A person waits: tell soon.
INTERACTIVE = Policy(base_s=0.2, cap_s=2.0, attempts=5, limit_s=15.0)
# The agent looks something up and can go on without it; one request that hangs is not the only one.
READ = Policy(base_s=0.2, cap_s=2.0, attempts=4, limit_s=150.0)
# The agent must know before it goes on (what became of a claim); ended by the drain.
PATIENT = Policy(base_s=0.2, cap_s=15.0, on_denied=True)
# A finished result: for a week, across restarts; after that it stays in the journal for a person.
DELIVER = Policy(base_s=0.5, cap_s=60.0, limit_s=7 * 86400.0, on_denied=True)


class Backoff:
    """Growing waits with full jitter; a server's `Retry-After` is obeyed, with jitter on top."""

    def __init__(self, random: Random, base_s: float, cap_s: float) -> None:
        """Start at `base_s`, end at `cap_s`."""
        self._random = random
        self._base_s = base_s
        self._cap_s = cap_s
        self._bound_s = base_s

    def reset(self) -> None:
        """Start over: something came."""
        self._bound_s = self._base_s

    def next_s(self, retry_after_s: float | None = None) -> float:
        """Return how long to wait now, and let the next wait be longer."""
        wait_s = self._random.uniform(0.0, self._bound_s)
        self._bound_s = min(self._bound_s * 2.0, self._cap_s)
        return wait_s if retry_after_s is None else retry_after_s + wait_s


class Retrier:
    """Repeat requests by a policy; randomness and clock are passed in."""

    def __init__(
        self, random: Random, clock: Clock, end: End | None = None, reach: Reach | None = None
    ) -> None:
        """Keep the parts.

        When an `end` comes in sight, what waits is tried again soon, and more often; when `reach` tells that
        the server is back, soon.
        """
        self._random = random
        self._clock = clock
        self._end = end
        self._reach = reach or Reach()
        self._scout_mono = float("-inf")  # when the wait that was cut last is over

    async def call(
        self, policy: Policy, request: Callable[[], Awaitable[T]], failed: ApiError | None = None
    ) -> T:
        """Return the request's answer, asking again as the policy says.

        `failed` is what a first try brought that was made already; where repeating cannot mend it, the
        request is made as if there had been none.
        Raises: the last error where the policy gives up, and at once an error that repeating
        cannot mend.
        """
        started_mono = self._clock.mono()
        if failed is not None and is_worth_repeating(failed, policy):
            return await self._again(policy, request, failed, started_mono)
        try:
            return await request()
        except ApiError as error:
            if not is_worth_repeating(error, policy):
                raise
            return await self._again(policy, request, error, started_mono)

    async def _again(
        self,
        policy: Policy,
        request: Callable[[], Awaitable[T]],
        failed: ApiError | None,
        started_mono: float,
    ) -> T:
        """Go on after a first try that failed; most requests never come here."""
        backoff = Backoff(self._random, policy.base_s, policy.cap_s)
        asked_s = 0.0  # how long the server wants to be left alone
        # A return during the first try is not seen, and would change nothing: the first wait, of `base_s` at
        # most beyond what the server asked for, is over before a return could end it (APART_S).
        returns = self._reach.returns

        def wait(state: RetryCallState) -> float:
            nonlocal asked_s
            error = state.outcome.exception() if state.outcome else None
            retry_after_s = error.retry_after_s if isinstance(error, ApiError) else None
            wait_s, asked_s = backoff.next_s(retry_after_s), retry_after_s or 0.0
            log.debug(
                "request.repeated", attempt=state.attempt_number, wait_s=round(wait_s, 3), error=str(error)
            )
            return wait_s

        def stop(state: RetryCallState) -> bool:
            over = policy.attempts is not None and state.attempt_number >= policy.attempts
            ends_s = self._clock.mono() - started_mono + state.upcoming_sleep
            late = policy.limit_s is not None and ends_s >= policy.limit_s
            return over or late

        async def once() -> T:  # tenacity awaits only what it sees to be a coroutine function
            nonlocal failed, returns
            if failed is not None:
                error, failed = failed, None
                raise error
            returns = self._reach.returns
            return await request()

        async def sleep(wait_s: float) -> None:
            await self.pause(wait_s, asked_s, returns)

        retrying = AsyncRetrying(
            sleep=sleep,
            wait=wait,
            stop=stop,
            retry=retry_if_exception(lambda error: is_worth_repeating(error, policy)),
            reraise=True,
        )
        return await retrying(once)

    async def pause(self, wait_s: float, asked_s: float = 0.0, returns: int | None = None) -> None:
        """Wait before another try; shorter where an end is in sight or the server is back.

        It lasts as long as the server asked, whatever happens. `returns` is how often the server had come
        back before the try that failed; None: as often as by now.
        """
        begun_mono = self._clock.mono()
        until_mono = begun_mono + self._scouting(wait_s, asked_s)
        known = self._reach.returns if returns is None else returns
        is_listening = True
        while self._end is None or self._end.end_in_s() is None:
            if is_listening and self._reach.returns != known:
                is_listening = False
                until_mono = min(until_mono, self._soon_mono(begun_mono + max(APART_S, asked_s)))
            if not await self._news(until_mono - self._clock.mono(), is_listening=is_listening):
                return
        rest_s = max(0.0, until_mono - self._clock.mono())
        last_s = last_wait_s(self._end.end_in_s() or 0.0)
        asked_s = max(0.0, begun_mono + asked_s - self._clock.mono())
        await asyncio.sleep(max(asked_s, min(rest_s, self._random.uniform(0.0, last_s))))

    def _scouting(self, wait_s: float, asked_s: float) -> float:
        """Cut one wait at a time: an idle agent's results would else learn of the server's return late."""
        now_mono = self._clock.mono()
        if wait_s <= SCOUT_S or now_mono < self._scout_mono or not self._reach.is_failing:
            return wait_s
        wait_s = max(asked_s, self._random.uniform(SCOUT_S / 2, SCOUT_S))
        self._scout_mono = now_mono + wait_s
        return wait_s

    def _soon_mono(self, not_before_mono: float) -> float:
        """Return when to try again now that the server is back: not with all others at one moment."""
        return max(not_before_mono, self._clock.mono()) + self._random.uniform(0.0, RETURN_S)

    async def _news(self, limit_s: float, *, is_listening: bool) -> bool:
        """Wait; tell whether an end came in sight meanwhile or, if that is wanted, the server back."""
        news: list[Coroutine[Any, Any, object]] = [self._reach.returned()] if is_listening else []
        if self._end is not None:
            news.append(self._end.requested())
        if not news:
            await asyncio.sleep(limit_s)
            return False
        tasks = [asyncio.ensure_future(one) for one in news]
        try:
            done, _ = await asyncio.wait(
                tasks, timeout=max(0.0, limit_s), return_when=asyncio.FIRST_COMPLETED
            )
            return bool(done)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def is_worth_repeating(error: BaseException, policy: Policy) -> bool:
    """Tell whether the same request may fare better later."""
    if isinstance(error, Unauthorized | Forbidden):
        return policy.on_denied
    return isinstance(error, Unknown | RateLimited)
