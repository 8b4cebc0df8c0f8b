"""What a run may begin with instead of a look of its own: its process as the run before it left it."""

from __future__ import annotations

from typing import Final, NamedTuple

from worker.usage.process import Key, ProcessReading

__all__ = ["Baseline"]

STILL_CPU_S: Final = 0.0005  # what a child takes from its last word until it waits again is a tenth of it …
STILL_S: Final = 1.0  # … and in so short a time the kernel takes no pages from it


class Baseline(NamedTuple):
    """A process without any below it, right after a run; what counts is its control group.

    Who used next to no CPU since then has the same memory and has done the same to the disk: the group
    tells for all in it, also for those who came meanwhile.
    """

    readings: dict[Key, ProcessReading]
    cpu_s: float  # of the group, right before them
    held_bytes: int  # by the group
    at_mono: float

    def holds(self, cpu_s: float, now_mono: float) -> bool:
        """Tell whether a look now would see the same, where the group has used so much by now."""
        return 0 <= cpu_s - self.cpu_s <= STILL_CPU_S and now_mono - self.at_mono <= STILL_S
