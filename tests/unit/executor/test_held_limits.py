"""When the limits of an idle child are lifted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from worker.executor.held_limits import RELIEF_S, HeldLimits
from worker.executor.life import Life

FREEZE_S = 1e9  # far away


class Loop:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.made = 0

    def time(self) -> float:
        """Return now."""
        return self.now

    def call_later(self, wait_s: float, act: Callable[[], None]) -> Timer:
        """Note what is to be done later."""
        self.made += 1
        self.timers.append((self.now + wait_s, act))
        return Timer(self, self.timers[-1])

    def pass_time(self, seconds: float) -> None:
        """Move on, and do what is due."""
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer not in due]
        for _, act in due:
            act()


class Timer:
    """What is to be done at a time."""

    def __init__(self, loop: Loop, timer: tuple[float, Callable[[], None]]) -> None:
        self._loop, self._timer = loop, timer

    def cancel(self) -> None:
        """Do it never."""
        self._loop.timers = [timer for timer in self._loop.timers if timer is not self._timer]


class Orders(list[tuple[Any, ...]]):
    """A life that only notes what it is to be held to."""

    def guard(self, *limits: Any) -> None:
        """Note them."""
        self.append(limits)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    """Give time that stands; a real loop's would have to be slept through."""
    loop = Loop()
    monkeypatch.setattr("worker.executor.held_limits.asyncio.get_running_loop", lambda: loop)
    return loop


def test_runs_that_follow_each_other_leave_one_timer(loop: Loop) -> None:
    """A timer of each run costs more than what it is for: each hold that follows lifts nothing."""
    limits = HeldLimits(cast(Life, Orders()))
    for _ in range(10):
        limits.hold(None, None, FREEZE_S)
        limits.relieve()
    assert loop.made == 1


def test_limits_are_lifted_a_while_after_the_last_run(loop: Loop) -> None:
    """Not a while after the first one, whose timer it is that looks; and not while a run goes on."""
    orders = Orders()
    limits = HeldLimits(cast(Life, orders))
    limits.hold(None, None, FREEZE_S)
    limits.relieve()
    loop.pass_time(RELIEF_S * 0.6)
    limits.hold(None, None, FREEZE_S)
    limits.relieve()
    loop.pass_time(RELIEF_S * 0.6)
    assert orders == [(None, None, FREEZE_S)]
    limits.hold(None, None, FREEZE_S)
    loop.pass_time(RELIEF_S * 3)
    assert orders == [(None, None, FREEZE_S)]
    limits.relieve()
    loop.pass_time(RELIEF_S * 1.1)
    assert orders == [(None, None, FREEZE_S), (None, None, None)]


def test_nothing_is_lifted_once_it_is_closed(loop: Loop) -> None:
    """Who has ended needs no relief."""
    orders = Orders()
    limits = HeldLimits(cast(Life, orders))
    limits.hold(None, None, FREEZE_S)
    limits.relieve()
    limits.close()
    loop.pass_time(RELIEF_S * 2)
    assert orders == [(None, None, FREEZE_S)]
    assert not loop.timers
