"""One timer of the loop for many calls, of which nearly all are taken back before their time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context

from msgspec import Struct

__all__ = ["SharedTimer"]


class Call(Struct, frozen=True):
    """A call to come, in the context of who asked for it: its lines of the log name that one's run."""

    at: float
    call: Callable[[], object]
    context: Context


class SharedTimer:
    """Calls at their times. Used on one event loop.

    A timer of the loop for each costs several times as much: it is made, put in order, found to be cancelled
    and swept away. This one goes off at the earliest time of what was there, be it taken back meanwhile.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._calls: dict[object, Call] = {}  # as many as there are runs
        self._timer: asyncio.TimerHandle | None = None

    def add(self, key: object, at: float, call: Callable[[], object]) -> None:
        """Call at a time of the loop, unless it is taken back by its key."""
        self._calls[key] = Call(at, call, copy_context())
        if self._timer is None or at < self._timer.when():
            self._arm(at)

    def remove(self, key: object) -> None:
        """Take a call back; one that was made, or was not there, is fine."""
        self._calls.pop(key, None)

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(at, self._go_off)

    def _go_off(self) -> None:
        """Make the calls whose time has come; nothing ticks when there is none left."""
        assert self._timer is not None
        now, self._timer = max(self._timer.when(), asyncio.get_running_loop().time()), None
        due = [self._calls.pop(key) for key, call in list(self._calls.items()) if call.at <= now]
        if self._calls:
            self._arm(min(call.at for call in self._calls.values()))
        for call in due:
            call.context.run(call.call)
