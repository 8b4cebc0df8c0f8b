"""When a request is made again: in virtual time."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from tests.simulation.loop import VirtualClock, run_virtual
from worker.api.errors import ApiError, Conflict, RateLimited, ServerError, TransportError, Unauthorized
from worker.api.retry import DELIVER, INTERACTIVE, PATIENT, READ, Policy, Retrier


def call(policy: Policy, errors: list[ApiError]) -> tuple[int, float]:
    """Make a request that fails so often; returns how often it was made, and how long that took."""

    async def main() -> tuple[int, float]:
        made = 0

        async def request() -> int:
            nonlocal made
            made += 1
            if errors:
                raise errors.pop(0)
            return made

        await Retrier(Random(1), VirtualClock()).call(policy, request)
        return made, asyncio.get_running_loop().time()

    return run_virtual(main())


def test_what_is_unknown_is_asked_again() -> None:
    """No answer, or a failing server: the same request may fare better later."""
    assert call(READ, [TransportError("x"), ServerError("x")])[0] == 3


def test_a_look_that_hangs_for_a_whole_request_is_made_again() -> None:
    """What it would have told decides: nothing of a cancelled job is to be requeued."""

    async def main() -> int:
        made = 0

        async def request() -> int:
            nonlocal made
            made += 1
            if made < 4:
                await asyncio.sleep(30.0)
                raise TransportError("brought no whole answer within 30 s")
            return made

        return await Retrier(Random(1), VirtualClock()).call(READ, request)

    assert run_virtual(main()) == 4


@pytest.mark.parametrize("policy", [READ, PATIENT, DELIVER, INTERACTIVE])
def test_what_the_server_rejects_is_not_asked_again(policy: Policy) -> None:
    """Repeating cannot mend it."""
    with pytest.raises(Conflict):
        call(policy, [Conflict("x")])


def test_a_finished_result_is_worth_a_week_of_tries() -> None:
    """Also through a token that was revoked meanwhile; waits never exceed a minute."""
    errors: list[ApiError] = [*[TransportError("x")] * 5000, Unauthorized("x"), ServerError("x")]
    made, passed_s = call(DELIVER, errors)
    assert made == 5003
    assert 86400 < passed_s < 5003 * 60
    with pytest.raises(TransportError):
        call(DELIVER, [TransportError("x")] * 50_000)


def test_a_person_is_told_soon() -> None:
    """An interactive command gives up within its bound."""
    with pytest.raises(TransportError):
        call(INTERACTIVE, [TransportError("x")] * 100)


def test_retry_after_is_obeyed_with_jitter_on_top() -> None:
    """Never before the time that the server named."""
    made, passed_s = call(PATIENT, [RateLimited("x", retry_after_s=30.0)])
    assert made == 2
    assert 30.0 <= passed_s < 31.0


@pytest.mark.parametrize("policy", [READ, INTERACTIVE])
def test_a_server_that_asks_for_an_hour_does_not_make_a_short_policy_long(policy: Policy) -> None:
    """A wait beyond the limit is not begun: who asks goes on without the answer, and a person is told."""

    async def main() -> float:
        async def request() -> None:
            raise RateLimited("x", retry_after_s=3600.0)

        with pytest.raises(RateLimited):
            await Retrier(Random(1), VirtualClock()).call(policy, request)
        return asyncio.get_running_loop().time()

    assert policy.limit_s is not None
    assert run_virtual(main()) < policy.limit_s
