"""What the minder holds a child to: told only where it changes what happens."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from worker.executor.life import Life

__all__ = ["HeldLimits"]

RELIEF_S: Final = 1.0  # after a run; an idle child must not be frozen, since it could not leave
STEP_S: Final = 0.2  # the minder's deadline lies behind the agent's own, and need not be exact


class HeldLimits:
    """The limits of one child. Use it on the event loop's thread; `close` at last."""

    def __init__(self, life: Life) -> None:
        """Start without limits."""
        self._life = life
        self._held: tuple[float | None, int | None, float | None] = (None, None, None)
        self._relief: asyncio.TimerHandle | None = None
        self._idle_s: float | None = None  # since when, by the loop's clock, limits wait to be lifted

    def hold(self, deadline_s: float | None, memory_bytes: int | None, freeze_s: float | None = None) -> None:
        """Have the minder hold limits; see `Life.guard`.

        A slightly other time changes nothing, nor does a later freezing while the one before is far enough:
        to stand still earlier is safe, and it is put off before it comes.
        """
        self._idle_s = None
        wished = (deadline_s, memory_bytes, freeze_s)
        if wished == self._held:  # as mostly: there is none
            return
        is_same = (
            is_near(deadline_s, self._held[0])
            and memory_bytes == self._held[1]
            and is_early_enough(self._held[2], freeze_s)
        )
        if not is_same:
            self._held = wished
            self._life.guard(*wished)

    def relieve(self) -> None:
        """Lift the limits of a run that is over: those that could harm now, others if no run follows soon."""
        if self._held[:2] != (None, None):
            self._lift()
        elif self._held[2] is not None:
            self._idle_s = asyncio.get_running_loop().time()
            self._lift_in(RELIEF_S)

    def close(self) -> None:
        """Lift nothing later."""
        self._idle_s = None
        if self._relief is not None:
            self._relief.cancel()
            self._relief = None

    def _lift_in(self, wait_s: float) -> None:
        """Look after a time; runs that follow each other leave one timer, of which most say nothing."""
        if self._relief is None:
            self._relief = asyncio.get_running_loop().call_later(wait_s, self._lift_if_idle)

    def _lift_if_idle(self) -> None:
        self._relief = None
        if self._idle_s is None:
            return
        left_s = self._idle_s + RELIEF_S - asyncio.get_running_loop().time()
        if left_s > 0:
            self._lift_in(left_s)
        else:
            self._lift()

    def _lift(self) -> None:
        self._idle_s = None
        self._held = (None, None, None)
        self._life.guard(*self._held)


def is_near(one_s: float | None, other_s: float | None) -> bool:
    """Tell whether two times for the minder are as good as one."""
    if one_s is None or other_s is None:
        return one_s is other_s
    return abs(one_s - other_s) < STEP_S


def is_early_enough(held_s: float | None, wished_s: float | None) -> bool:
    """Tell whether a freezing that the minder holds does for the one that is wished."""
    if held_s is None or wished_s is None:
        return held_s is wished_s
    now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    return held_s <= wished_s and held_s - now_s > (wished_s - now_s) / 2
