"""Waits that end in time, or before."""

import asyncio
from collections.abc import Coroutine
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


def test_who_is_cancelled_leaves_no_timer() -> None:
    """And may wait again."""

    async def scenario() -> None:
        alarm = Alarm(asyncio.get_running_loop())
        waiting = asyncio.create_task(alarm.wait(LONG_S))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        loop = asyncio.get_running_loop()
        assert [timer for timer in loop._scheduled if not timer.cancelled()][1:] == []  # type: ignore[attr-defined]
        alarm.set()
        await alarm.wait(LONG_S)

    run(scenario())
