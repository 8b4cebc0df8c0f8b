"""The places in which handlers run, one for each slot, and how many claims may be ahead of a free one.

Where one run after another is over within moments, a slot would wait for the server most of the time. Then
as many tasks again as there are slots are claimed while the others run, and go together in one request. A run
that takes longer ends that at once: what was claimed ahead is given back after a wait of `WAIT_S`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from worker.clock import Clock
from worker.executor.executor import StopRequest

__all__ = ["STREAK", "Places"]

SHORT_S: Final = 0.05  # a run that is over sooner is short: about ten times what a claim takes
WAIT_S: Final = 0.25  # in which others might have begun with a task that waits here
STREAK: Final = 32  # short runs in a row, before the next ones are taken to be short
STREAK_MAX: Final = 4096  # where that was wrong, twice as many each time
AHEAD_MIN: Final = 4  # claims, with one slot too: so many go in one request, and wait for moments
AHEAD_MAX: Final = 16  # claims; beyond that the requests are large enough


class Places:
    """Hands out places in the order in which they are asked for. Used on one event loop; no I/O."""

    def __init__(
        self, slots: int, clock: Clock, *, may: Callable[[], bool] = lambda: True, streak: int = STREAK
    ) -> None:
        """All are free; while `may` says no, nothing is claimed ahead."""
        self._slots = slots
        self._clock = clock
        self._may = may
        self._ahead = max(AHEAD_MIN, min(slots, AHEAD_MAX))
        self._streak = self._needed = streak
        self._short = 0  # runs in a row
        self._going: OrderedDict[str, float] = OrderedDict()  # run -> since when, the oldest first
        self._waiting: OrderedDict[str, asyncio.Future[bool]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def ahead(self) -> int:
        """Return how many claims may be ahead of the free slots now."""
        is_brisk = self._short >= self._needed and not self._has_long()
        return self._ahead if is_brisk and self._may() else 0

    async def take(self, run_id: str, stop: StopRequest) -> bool:
        """Wait for a place; False where the run is asked to stop before, or has waited for too long.

        Who got one must leave it.
        """
        if len(self._going) < self._slots and not self._waiting:
            self._going[run_id] = self._clock.mono()
            return True
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[run_id] = place
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WAIT_S, self._give_up, run_id)
        unfollow = stop.follow(lambda: self._send_away(run_id))
        try:
            return await place
        except asyncio.CancelledError:
            if run_id in self._going:
                self.leave(run_id, is_short=False)
            raise
        finally:
            unfollow()
            self._waiting.pop(run_id, None)

    def leave(self, run_id: str, *, is_short: bool) -> None:
        """Give a place back, to whoever waits longest.

        `is_short` false tells that the run says nothing good of those to come, however soon it was over.
        """
        took_s = self._clock.mono() - self._going.pop(run_id)
        if is_short and took_s < SHORT_S:
            self._short += 1
            if self._short >= STREAK_MAX:
                self._needed = self._streak
        else:
            self._short = 0
        while self._waiting and len(self._going) < self._slots:
            waiter, place = self._waiting.popitem(last=False)
            if not place.done():  # else it was cancelled in this step
                place.set_result(True)
                self._going[waiter] = self._clock.mono()

    def _has_long(self) -> bool:
        """Tell whether a run goes on that is not short."""
        oldest = next(iter(self._going.values()), None)
        return oldest is not None and self._clock.mono() - oldest >= SHORT_S

    def _give_up(self, run_id: str) -> None:
        """Send away whom the timer was set for, if it waits still, and those that came with it."""
        self._timer = None
        if run_id in self._waiting:
            self._short = 0
            self._needed = min(self._needed * 2, STREAK_MAX)
            for waiter in list(self._waiting):
                self._send_away(waiter)
        elif self._waiting:
            loop, longest = asyncio.get_running_loop(), next(iter(self._waiting))
            self._timer = loop.call_later(WAIT_S, self._give_up, longest)

    def _send_away(self, run_id: str) -> None:
        """Have one wait no longer; it is out of the line at once, so that nobody waits behind it."""
        place = self._waiting.pop(run_id, None)
        if place is not None and not place.done():
            place.set_result(False)
