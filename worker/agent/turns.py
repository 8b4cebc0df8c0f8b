"""When each loop of the agent comes round again: one that does not is stuck, though the event loop turns.

Each step of a loop has a time limit of its own, so a loop is late only by a fault of ours or of a
library. Then tasks would wait, or runs would lose their leases, for as long as the agent lives: the
watchdog and `/healthz` have it replaced instead. So they do where the minder stands still, which no loop
here would notice: the limits of runs would not be held. What waits for the disk is no loop here: results that
are not written yet are held in memory, and a new agent would lose them without having a better disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from worker.clock import Clock

__all__ = ["PATIENCE_S", "Turns"]

PATIENCE_S: Final = 120.0  # beyond what a step may take; a machine that swaps is slow, not stuck


class Turns:
    """The loops that go on, by name; as many as there are runs here, and a few."""

    def __init__(
        self,
        clock: Clock,
        patience_s: float = PATIENCE_S,
        others: Mapping[str, Callable[[], bool]] | None = None,
    ) -> None:
        """`patience_s` is how late a loop may be before it counts as stuck.

        `others` tell of what else may be, by its name; they are asked when somebody looks.
        """
        self._others = dict(others or {})
        self._clock = clock
        self._patience_s = patience_s
        self._due_mono: dict[str, float] = {}

    def note(self, loop: str, step_s: float | None) -> None:
        """Know that a loop goes on, and that its next step takes `step_s` seconds at most.

        None: it has ended, or waits for something that has no limit.
        """
        if step_s is None:
            self._due_mono.pop(loop, None)
        else:
            self._due_mono[loop] = self._clock.mono() + step_s

    def stuck(self) -> tuple[str, ...]:
        """Return the names of the loops that are late beyond patience, and of what else stands still."""
        late_mono = self._clock.mono() - self._patience_s
        late = [loop for loop, due_mono in self._due_mono.items() if due_mono < late_mono]
        return (*late, *(name for name, is_stuck in self._others.items() if is_stuck()))
