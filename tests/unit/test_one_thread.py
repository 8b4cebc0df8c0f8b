"""A thread for calls that block."""

import asyncio
import functools
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from worker.one_thread import OneThread

LIMIT_S = 30.0
NAME = "one-of-a-test"


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario within a limit."""
    asyncio.run(asyncio.wait_for(scenario, LIMIT_S))


def threads() -> list[threading.Thread]:
    """Return the threads of this test that are there now."""
    return [one for one in threading.enumerate() if one.name == NAME]


def test_calls_are_done_in_order_in_one_thread_beside_the_loop() -> None:
    """Each gets its own answer, whoever asked first; nothing begins before the first call."""
    seen: list[tuple[int, threading.Thread]] = []

    def note(number: int) -> int:
        seen.append((number, threading.current_thread()))
        return number

    async def scenario() -> None:
        thread = OneThread(NAME)
        assert not thread.is_begun
        answers = await asyncio.gather(*(thread.call(functools.partial(note, at)) for at in range(20)))
        assert answers == list(range(20))
        assert [number for number, _ in seen] == answers
        assert {by for _, by in seen} == set(threads())
        assert threading.main_thread() not in threads()
        thread.close()

    run(scenario())


def test_what_a_call_raises_is_raised_to_who_asked_and_ends_nothing() -> None:
    """The next call is done as if nothing had been."""

    def refuse() -> None:
        raise OSError("no room")

    async def scenario() -> None:
        thread = OneThread(NAME)
        with pytest.raises(OSError, match="no room"):
            await thread.call(refuse)
        assert await thread.call(lambda: 7) == 7
        thread.close()

    run(scenario())


def test_who_is_cancelled_leaves_a_call_that_is_done_all_the_same() -> None:
    """Its answer is nobody's; the next one gets its own."""
    gate, done = threading.Event(), threading.Event()

    def held() -> None:
        gate.wait(LIMIT_S)
        done.set()

    async def scenario() -> None:
        thread = OneThread(NAME)
        waiting = asyncio.create_task(thread.call(held))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        assert await thread.call(done.is_set)
        thread.close()

    run(scenario())


def test_a_closed_one_does_what_was_asked_ends_and_may_begin_again() -> None:
    """No thread is left behind, also where the loop ended meanwhile."""
    gate = threading.Event()

    async def scenario() -> None:
        thread = OneThread(NAME)
        last = asyncio.create_task(thread.call(lambda: gate.wait(LIMIT_S)))
        await asyncio.sleep(0)
        thread.close()
        thread.close()
        assert not thread.is_begun
        gate.set()
        assert await last
        assert await thread.call(lambda: 1) == 1
        gate.clear()
        left = asyncio.create_task(thread.call(lambda: gate.wait(LIMIT_S)))
        await asyncio.sleep(0)
        thread.close()
        left.cancel()

    run(scenario())
    gate.set()
    for one in threads():
        one.join(LIMIT_S)
    assert threads() == []
