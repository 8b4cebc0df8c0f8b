"""Whether the minder still answers: it is asked when somebody looks, so that nobody ticks for it.

The watchdog's beat, `/healthz` and a status are such looks. A minder that is stopped, or hangs in the
kernel, holds no limit and ends no run any more, and nothing else would tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

__all__ = ["Pulse"]

SILENT_S: Final = 60.0  # it answers within milliseconds; on a machine that swaps, within seconds
STEP_S: Final = 15.0  # what one look may add: when all stood still together, the minder needs its turn first
AGAIN_S: Final = 1.0  # after an answer, however often somebody looks


class Pulse:
    """One question at a time, and how long its answer has been waited for."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a clock, in seconds; nothing was asked yet."""
        self._clock = clock
        self._looked_s = float("-inf")
        self.is_owed = False  # an answer
        self._waited_s = 0.0

    @property
    def silent(self) -> bool:
        """Tell what the last look found."""
        return self._waited_s > SILENT_S

    def forget(self) -> None:
        """Take that there is no minder, or another one."""
        self.is_owed = False
        self._waited_s = 0.0

    def is_silent(self, ask: Callable[[], None]) -> bool:
        """Tell whether it has owed an answer for too long; `ask` where it owes none."""
        now_s = self._clock()
        passed_s = now_s - self._looked_s
        if self.is_owed:
            self._waited_s += min(passed_s, STEP_S)
        elif passed_s < AGAIN_S:
            return False
        else:
            self.is_owed = True
            ask()
        self._looked_s = now_s
        return self.silent
