"""Looks in a thread: who hears of them, and what becomes of one that hangs, or is not wanted any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from worker.agent.lookout import Lookout

EVERY_S = 0.001


class Looker:
    """Finds what a test says, and keeps what was heard."""

    def __init__(self, news: set[int], hang_at: int = -1) -> None:
        """Find how many looks there were before; some are news."""
        self.news = news
        self.hang_at = hang_at
        self.looks = 0
        self.going = threading.Event()
        self.heard: list[int] = []
        self.problems: list[str] = []

    def look(self) -> int:
        """Look once."""
        if self.looks == self.hang_at:
            self.going.wait(30.0)
        self.looks += 1
        return self.looks - 1

    def lookout(self, late_s: float | None = None) -> Lookout[int]:
        """Return what looks."""
        return Lookout(
            self.look,
            is_news=self.news.__contains__,
            take=self.heard.append,
            on_problem=lambda exc: self.problems.append(f"{type(exc).__name__}: {exc}"),
            every_s=EVERY_S,
            late_s=late_s,
        )


async def look_until(lookout: Lookout[int], holds: Callable[[], bool]) -> None:
    """Look until something holds."""
    looking = asyncio.create_task(lookout.run())
    async with asyncio.timeout(30.0):
        while not holds():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(EVERY_S)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)


def is_looking() -> bool:
    """Tell whether there is a thread that looks."""
    return any(thread.name == "millhand-lookout" for thread in threading.enumerate())


def test_only_news_wake_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """All other looks are the thread's alone: an idle agent sleeps on."""
    woken: list[Any] = []
    looker = Looker(news={7, 30})

    async def main() -> None:
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def counted(*given: Any, **named: Any) -> Any:
            woken.append(given)
            return wake(*given, **named)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)  # what wakes a loop, seen by nothing else
        await look_until(looker.lookout(), lambda: looker.looks >= 40)

    asyncio.run(main())
    assert looker.heard == [7, 30]
    assert len(woken) == 2


def test_a_look_that_hangs_is_told_and_is_the_only_one() -> None:
    """Its answer counts when it comes."""
    looker = Looker(news={3, 5}, hang_at=3)

    async def main() -> None:
        hanging = asyncio.create_task(look_until(looker.lookout(late_s=0.01), lambda: 5 in looker.heard))
        while not looker.problems:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(EVERY_S)
        assert (looker.looks, looker.heard) == (3, [])
        looker.going.set()
        await hanging

    asyncio.run(main())
    assert looker.heard == [3, 5]
    assert set(looker.problems) == {"TimeoutError: no answer within 0.01 s"}


def test_without_a_thread_it_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine may be out of threads for a while."""
    looker, tries = Looker(news={0}), [True, True]
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == "millhand-lookout" and tries:
            tries.pop()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)  # the system cannot be made to refuse a test
    asyncio.run(look_until(looker.lookout(), lambda: looker.heard == [0]))
    assert looker.problems == ["RuntimeError: can't start new thread"] * 2


def test_who_is_cancelled_hears_nothing_more() -> None:
    """Not even of a look that went on meanwhile; and its thread ends."""
    looker = Looker(news={0}, hang_at=0)

    async def main() -> None:
        await look_until(looker.lookout(), is_looking)
        looker.going.set()
        async with asyncio.timeout(30.0):
            while is_looking():  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(EVERY_S)

    asyncio.run(main())
    assert looker.heard == []
