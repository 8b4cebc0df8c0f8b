"""What becomes of a child after a run: it is kept, let go in order, or ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, auto

from msgspec import Struct

from worker.executor.evidence import Evidence
from worker.executor.growth import private_bytes
from worker.executor.limits import Limits, effective
from worker.executor.link import ChildLink
from worker.usage.readings import Left

__all__ = ["Fate", "Reuse", "has_room"]


class Fate(Enum):
    """What becomes of a child."""

    KEEP = auto()  # for the next run
    LEAVE = auto()  # it tears its handler down, and ends by itself
    END = auto()  # it is killed


class Reuse(Struct, frozen=True, kw_only=True):
    """How long a child serves."""

    max_runs: int
    growth_bytes: int  # of private memory, since its first run

    async def fate(
        self, link: ChildLink, seen: Evidence, left: Left | None, is_alone: Callable[[], Awaitable[bool]]
    ) -> tuple[Fate, str | None]:
        """Return what becomes of a child after a run, and the fault of its handler that costs it.

        `left` is what was found in it at the end of the run, where somebody looked; `is_alone` tells whether
        the processes below it are those that its `setup` started, each of them.
        """
        ready, ended = link.ready, seen.ended
        if ready is None or ended is None or not is_sound(link, seen) or not await is_alone():
            return Fate.END, None
        is_done = ready.isolation != "warm" or link.runs >= self.max_runs
        fault = None if is_done else ended.unclean or self._growth(link, left)
        if not is_done and fault is None:
            return Fate.KEEP, None
        return (Fate.LEAVE if ready.has_teardown else Fate.END), fault

    def _growth(self, link: ChildLink, left: Left | None) -> str | None:
        own_bytes = private_bytes(link.pid) if left is None else left.anonymous_bytes
        if own_bytes is None:  # it is gone, which others see, or hidden from us
            return None
        if link.first_bytes is None:
            link.first_bytes = own_bytes
        more_bytes = own_bytes - link.first_bytes
        if more_bytes <= self.growth_bytes:
            return None
        return f"it has {more_bytes >> 20} MiB of memory more than after its first run"


def is_sound(link: ChildLink, seen: Evidence) -> bool:
    """Tell whether nobody ended a run, and its child lives and listens."""
    return (
        seen.stop is None
        and seen.channel_error is None
        and seen.overrun is None
        and not link.life.oom_kills()  # the kernel took a part of the tree
        and not link.is_dead
        and not link.is_closed_by_child
    )


def has_room(link: ChildLink, task: Limits, agent: Limits) -> bool:
    """Tell whether a run may begin in a warm child: what others left there is not above its own limit."""
    if link.ready is None:
        return True
    limit_bytes = effective(task.memory_bytes, link.ready.limits.memory_bytes, agent.memory_bytes)
    own_bytes = None if limit_bytes is None else private_bytes(link.pid)
    return limit_bytes is None or own_bytes is None or own_bytes < limit_bytes
