"""Waits that end in time, or before."""

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from worker.executor.alarm import Alarm

LIMIT_S = 30.0
LONG_S = 1e6


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario within a limit."""

    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await scenario

    asyncio.run(limited())


def test_it_ends_in_time_or_when_it_is_set() -> None:
    """Nobody needs to set it; and who does is heard at once, also twice."""

    async def scenario() -> None:
        alarm = Alarm(asyncio.get_running_loop())
        await alarm.wait(0.0)
        await alarm.wait(0.001)
        asyncio.get_running_loop().call_soon(alarm.set)
        asyncio.get_running_loop().call_soon(alarm.set)
        await alarm.wait(LONG_S)

    run(scenario())


def test_what_was_set_before_is_not_waited_for_and_not_seen_twice() -> None:
    """News that came while its owner was at work."""

    async def scenario() -> None:
        alarm = Alarm(asyncio.get_running_loop())
        alarm.set()
        await alarm.wait(LONG_S)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await alarm.wait(LONG_S)

    run(scenario())


def test_one_timer_goes_on_from_wait_to_wait() -> None:
    """Where it is early enough; it may end a later wait too soon, and rings for nobody else."""

    async def scenario() -> None:
        alarm, loop = Alarm(asyncio.get_running_loop()), asyncio.get_running_loop()
        for limit_s in (LONG_S, LONG_S + 1, 0.02, 1.0):
            alarm.set() if limit_s == 1.0 else loop.call_soon(alarm.set)
            await alarm.wait(limit_s)
            assert len(timers()) == 1
        await alarm.wait(LONG_S)
        assert not timers()
        loop.call_soon(alarm.set)
        await alarm.wait(0.001)
        await asyncio.sleep(0.01)
        with pytest.raises(TimeoutError):  # nobody waited when it rang
            async with asyncio.timeout(0.01):
                await alarm.wait(LONG_S)

    run(scenario())


def test_who_waits_next_does_not_hear_what_was_forgotten() -> None:
    """News of a run that is over."""

    async def scenario() -> None:
        alarm = Alarm(asyncio.get_running_loop())
        alarm.set()
        alarm.clear()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await alarm.wait(LONG_S)

    run(scenario())


def test_who_waits_goes_on_at_once_where_news_is_rung_for() -> None:
    """Within the callback that brings it, in its own context; without news a ring says nothing."""
    whose = ContextVar("whose", default="nobody's")

    async def scenario() -> None:
        alarm, loop, seen = Alarm(asyncio.get_running_loop()), asyncio.get_running_loop(), list[str]()

        async def wait() -> None:
            whose.set("who waits")
            await alarm.wait(LONG_S)
            seen.append(whose.get())

        def bring() -> None:
            alarm.ring()
            seen.append("nothing yet")
            alarm.mark()
            alarm.set()  # which would have it go on later
            alarm.ring()
            alarm.ring()
            seen.append("gone on")

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        loop.call_soon(bring)
        await waiting
        assert seen == ["nothing yet", "who waits", "gone on"]
        alarm.mark()
        await alarm.wait(LONG_S)

    run(scenario())


def test_who_waits_goes_on_a_round_later_where_a_task_rings() -> None:
    """Beside it no other task can go on; and nobody is forgotten for that."""

    async def scenario() -> None:
        alarm, seen = Alarm(asyncio.get_running_loop()), list[str]()

        async def wait() -> None:
            await alarm.wait(LONG_S)
            seen.append("gone on")

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        alarm.mark()
        alarm.ring()
        alarm.ring()
        assert seen == []
        await waiting
        assert seen == ["gone on"]

    run(scenario())


@pytest.mark.parametrize("is_set", [False, True])
def test_who_is_cancelled_hears_of_that_alone(is_set: bool) -> None:
    """Also where news has come in the same round, before or after; and a ring wakes nobody twice."""

    async def scenario() -> None:
        for is_first in (True, False):
            alarm = Alarm(asyncio.get_running_loop())
            waiting = asyncio.create_task(alarm.wait(LONG_S))
            await asyncio.sleep(0)
            if is_set and is_first:
                alarm.set()
            waiting.cancel()
            if is_set and not is_first:
                alarm.set()
            asyncio.get_running_loop().call_soon(alarm.ring)
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert waiting.cancelled()

    run(scenario())


def test_who_is_cancelled_may_wait_again_and_closing_leaves_no_timer() -> None:
    """It may be closed twice."""

    async def scenario() -> None:
        alarm = Alarm(asyncio.get_running_loop())
        waiting = asyncio.create_task(alarm.wait(LONG_S))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        alarm.set()
        await alarm.wait(LONG_S)
        alarm.close()
        alarm.close()
        assert not timers()

    run(scenario())


def timers() -> list[asyncio.TimerHandle]:
    """Return the loop's timers, but for that of the scenario's own limit."""
    scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return [one for one in scheduled if not one.cancelled() and isinstance(one._callback.__self__, Alarm)]
