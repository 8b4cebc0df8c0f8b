"""What waits after failures when the server is back: in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from random import Random

import httpx
import pytest

from tests.simulation.loop import VirtualClock, run_virtual
from worker.api.client import JobsApi
from worker.api.connection import Connection
from worker.api.errors import ApiError, NotFound, RateLimited, ServerError, TransportError
from worker.api.over_httpx import OverHttpx
from worker.api.reach import Reach
from worker.api.retry import (
    APART_S,
    DELIVER,
    INTERACTIVE,
    PATIENT,
    READ,
    RETURN_S,
    SCOUT_S,
    Policy,
    Retrier,
)
from worker.api.token import FixedToken

AWAY_S = 900.0  # long enough for the longest waits
GONE = TransportError("x")


def tries(at_once: int, answer: Callable[[float, Reach], ApiError | None], until_s: float) -> list[float]:
    """Return when so many requests are made, each until `answer` gives no error."""

    async def main() -> list[float]:
        reach, made = Reach(), []
        retrier = Retrier(Random(1), VirtualClock(), reach=reach)

        async def request() -> None:
            now = asyncio.get_running_loop().time()
            made.append(now)
            if (error := answer(now, reach)) is not None:
                raise error

        calls = [asyncio.create_task(retrier.call(DELIVER, request)) for _ in range(at_once)]
        _, waiting = await asyncio.wait(calls, timeout=until_s)
        for call in waiting:
            call.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return made

    return run_virtual(main())


def polling(back_s: float) -> Callable[[float, Reach], ApiError | None]:
    """Return answers of a server that comes back, which a poll notices at once."""

    def answer(now: float, reach: Reach) -> ApiError | None:
        loop = asyncio.get_running_loop()
        if now == 0.0:
            reach.failed("GET tasks", GONE)
            loop.call_at(back_s, reach.answered, "GET tasks")
        return GONE if now < back_s else None

    return answer


def test_all_that_waited_is_tried_within_seconds_of_the_first_answer() -> None:
    """Not at its own time, up to a minute later: a lease may be over before; and not all at one moment."""
    made = [at - AWAY_S for at in tries(50, polling(AWAY_S), AWAY_S + 120.0) if at >= AWAY_S]
    assert len(made) == 50
    assert max(made) <= APART_S + RETURN_S
    assert len({round(at, 1) for at in made}) > 20


@pytest.mark.parametrize("seed", range(8))
def test_a_try_that_was_under_way_when_the_server_came_back_is_made_again_soon(seed: int) -> None:
    """Its connection hung, and nothing else would tell it."""

    async def main() -> float:
        reach = Reach()

        async def request() -> None:
            now = asyncio.get_running_loop().time()
            if now < AWAY_S:
                await asyncio.sleep(30.0)
                raise GONE

        reach.failed("GET tasks", GONE)
        asyncio.get_running_loop().call_at(AWAY_S, reach.answered, "GET tasks")
        await Retrier(Random(seed), VirtualClock(), reach=reach).call(DELIVER, request)
        return asyncio.get_running_loop().time() - AWAY_S

    assert run_virtual(main()) <= 30.0 + APART_S + RETURN_S


@pytest.mark.parametrize("policy", [INTERACTIVE, READ, PATIENT, DELIVER])
def test_a_return_during_the_first_try_is_not_missed(policy: Policy) -> None:
    """Nobody looks whether there was one: the wait after that try ends before a return could end it."""
    assert policy.base_s < APART_S


def test_an_agent_that_does_nothing_else_asks_often_enough_to_learn_of_the_return() -> None:
    """Its polls may wait for a minute, and no run reports: one of its results asks, not each."""

    def answer(now: float, reach: Reach) -> ApiError:
        reach.failed("PUT run", GONE)
        return GONE

    made = [at for at in tries(20, answer, AWAY_S) if at > AWAY_S / 2]
    assert max(later - at for at, later in pairwise(made)) <= SCOUT_S
    alone = [at for at in tries(1, answer, AWAY_S) if at > AWAY_S / 2]
    assert max(later - at for at, later in pairwise(alone)) <= SCOUT_S
    assert len(made) < len(alone) + 20 * (AWAY_S / 2) / 25.0  # others wait for half a minute, in the mean


def test_a_server_that_comes_and_goes_is_not_hammered() -> None:
    """Polls fail and succeed in turn, each second; a result that is not taken keeps its distance."""

    def answer(now: float, reach: Reach) -> ApiError:
        loop = asyncio.get_running_loop()
        if now == 0.0:
            for at in range(0, 600, 2):
                loop.call_at(at, reach.failed, "GET tasks", GONE)
                loop.call_at(at + 1, reach.answered, "GET tasks")
        return ServerError("x", status=500)

    made = [at for at in tries(1, answer, 600.0) if at > 60.0]
    assert len(made) <= 540.0 / APART_S


def test_the_time_that_a_server_asks_for_is_kept_when_it_is_back() -> None:
    """It may have said so for want of room."""

    def answer(now: float, reach: Reach) -> ApiError | None:
        if now == 0.0:
            reach.failed("GET tasks", GONE)
            asyncio.get_running_loop().call_at(5.0, reach.answered, "GET tasks")
        return RateLimited("x", retry_after_s=40.0) if now < 40.0 else None

    first, second = tries(1, answer, 100.0)
    assert 40.0 <= second - first <= 40.0 + RETURN_S


@pytest.mark.parametrize(
    ("error", "is_back"),
    [
        (None, True),
        (NotFound("x", status=404, code="run_not_found"), True),
        (NotFound("x", status=404), False),
        (RateLimited("x", status=429, code="rate_limited"), False),
        (ServerError("x", status=503), False),
    ],
    ids=["answered", "refused by the API", "a proxy's page", "too many", "failing"],
)
def test_only_an_answer_of_the_api_shows_that_it_is_back(error: ApiError | None, is_back: bool) -> None:
    """An ingress answers too, while nothing is behind it."""
    reach = Reach()
    reach.failed("PUT run", GONE)
    if error is None:
        reach.answered("PUT run")
    else:
        reach.failed("PUT run", error)
    assert (reach.returns == 1) is is_back


def test_a_request_that_fails_by_itself_shows_no_outage() -> None:
    """One result that makes the server fail, beside polls that never did: nothing is hurried."""
    reach = Reach()
    for _ in range(10):
        reach.failed("PUT run-1", ServerError("x", status=500))
        reach.answered("GET tasks")
    assert reach.returns == 0


def test_requests_tell_of_the_server_whose_connection_they_use() -> None:
    """A failure and an answer on the wire are what it knows of."""
    statuses = [503, 200]

    async def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(statuses.pop(0), json={"id": "r"})

    async def main() -> tuple[bool, int]:
        api = JobsApi(Connection(OverHttpx(httpx.MockTransport(answer)), "http://virtual", FixedToken("t")))
        with pytest.raises(ServerError):
            await api.get_run("r")
        was_failing = api.traits.reach.is_failing
        await api.get_run("r")
        return was_failing, api.traits.reach.returns

    assert run_virtual(main()) == (True, 1)


def test_a_return_between_a_look_and_its_wait_is_not_missed() -> None:
    """The answer that shows it is read in the same round of the loop, by another task."""

    async def main() -> float:
        loop, reach = asyncio.get_running_loop(), Reach()
        reach.failed("GET tasks", GONE)
        pause = asyncio.create_task(Retrier(Random(1), VirtualClock(), reach=reach).pause(SCOUT_S, 0.0))
        loop.call_soon(reach.answered, "GET tasks")
        await pause
        return loop.time()

    assert run_virtual(main()) <= APART_S + RETURN_S
