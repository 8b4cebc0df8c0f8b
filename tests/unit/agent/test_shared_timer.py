"""One timer for many calls: each at its time, none that was taken back."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from tests.simulation.loop import run_virtual
from worker.agent.shared_timer import SharedTimer


def test_each_call_is_made_at_its_time() -> None:
    """In whatever order they came; one that is due earlier than all others, too."""

    async def main() -> list[tuple[str, float]]:
        loop, timer = asyncio.get_running_loop(), SharedTimer()
        began, made = loop.time(), list[tuple[str, float]]()

        def make(name: str) -> None:
            made.append((name, loop.time() - began))

        for name, in_s in (("b", 2.0), ("c", 3.0), ("a", 1.0), ("also b", 2.0)):
            timer.add(name, began + in_s, partial(make, name))
        await asyncio.sleep(10.0)
        return [(name, round(at_s, 3)) for name, at_s in made]

    assert run_virtual(main()) == [("a", 1.0), ("b", 2.0), ("also b", 2.0), ("c", 3.0)]


def test_what_is_taken_back_is_not_called() -> None:
    """Before its time or after; what is behind it is called all the same, and what comes later."""

    async def main() -> list[str]:
        loop, timer = asyncio.get_running_loop(), SharedTimer()
        made = list[str]()
        for name in "abc":
            timer.add(name, loop.time() + 1.0, partial(made.append, name))
        timer.remove("a")
        timer.remove("nobody")
        await asyncio.sleep(2.0)
        timer.remove("b")
        timer.add("d", loop.time() + 1.0, partial(made.append, "d"))
        await asyncio.sleep(2.0)
        return made

    assert run_virtual(main()) == ["b", "c", "d"]


def test_there_is_one_timer_of_the_loop_and_none_when_there_is_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many calls wait: that is what it is for."""

    async def main() -> None:
        loop, timer = asyncio.get_running_loop(), SharedTimer()
        made, call_at = list[float](), loop.call_at

        def counted(at: float, *rest: Any, **more: Any) -> asyncio.TimerHandle:
            made.append(at)
            return call_at(at, *rest, **more)

        monkeypatch.setattr(loop, "call_at", counted)  # the loop is what it saves work
        at = loop.time() + 1.0
        for key in range(100):
            timer.add(key, at, lambda: None)
            timer.remove(key)
        assert made == [at]
        timer.add("kept", at + 1.0, lambda: None)
        await asyncio.sleep(5.0)  # one more
        await asyncio.sleep(5.0)  # and one more
        assert sorted(made) == [at, at + 1.0, at + 4.0, at + 9.0]

    run_virtual(main())


def test_a_call_is_made_in_the_context_of_who_asked_for_it() -> None:
    """Lines of the log name the run that is bound there."""

    async def main() -> list[str]:
        loop, timer = asyncio.get_running_loop(), SharedTimer()
        made = list[str]()

        async def ask(name: str) -> None:
            bound.set(name)
            timer.add(name, loop.time() + 1.0, lambda: made.append(bound.get()))

        await asyncio.gather(ask("a"), ask("b"))
        await asyncio.sleep(2.0)
        return made

    bound = ContextVar[str]("bound")
    assert run_virtual(main()) == ["a", "b"]
