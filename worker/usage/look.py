"""One look at the processes of a run; and whether the next run may begin with it."""

from __future__ import annotations

from typing import Final, NamedTuple

from worker.usage.process import Key, ProcessReading

__all__ = ["Look"]

STILL_CPU_S: Final = 0.0005  # what a child takes from its last word until it waits again is a tenth of it …
STILL_S: Final = 1.0  # … and in so short a time the kernel takes no pages from it


class Look(NamedTuple):
    """What was seen at one moment: first by the control group, then in the processes."""

    at_mono: float
    cpu_s: tuple[float, float] | None  # of the group: all, and in the kernel; None: nothing counts it
    held_bytes: int | None  # by the group
    readings: dict[Key, ProcessReading]

    def holds(self, cpu_s: float, now_mono: float) -> bool:
        """Tell whether a look now would see the same, where the group has used so much by now.

        Who used next to no CPU since then has the same memory and has done the same to the disk: the group
        tells for all in it, also for those who came meanwhile.
        """
        used_s = cpu_s - self.cpu_s[0] if self.cpu_s is not None else -1.0
        return 0 <= used_s <= STILL_CPU_S and now_mono - self.at_mono <= STILL_S
