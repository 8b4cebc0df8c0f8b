"""Hold claims while the machine is short of memory: one more run would slow all of them down, or end some."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import structlog

from worker.agent.holds import Holds
from worker.agent.lookout import Lookout
from worker.executor.quantities import size_text
from worker.machine.memory_state import MemoryState, Pressure, Room, read_memory_state

__all__ = ["MemoryWatch", "lack_of_room", "lack_of_speed"]

LOOK_INTERVAL_S: Final = 2.0  # between two looks
RESUME_RATIO: Final = 1.1  # of the limit must be available before it counts as enough again
CALM_RATIO: Final = 0.5  # of the limit is what the pressure must have fallen to
USUAL_BYTES: Final = 256 * 1024**2  # where nobody says how much; in small containers a tenth is enough
USUAL_SHARE: Final = 10
SHARE_MAX: Final = 2  # who asks for more than half of all that there is gets half
ROOM: Final = "memory"
SPEED: Final = "memory pressure"
Seen: TypeAlias = tuple[MemoryState, str | None]  # and why nothing could be read
log = structlog.get_logger()


class MemoryWatch:
    """Look at the memory again and again; a limit of 0 is never looked at."""

    def __init__(
        self,
        holds: Holds,
        *,
        min_bytes: int | None,
        max_percent: float,
        read: Callable[[], MemoryState] = read_memory_state,
        on_short: Callable[[], None] = lambda: None,
    ) -> None:
        """Hold below `min_bytes` of available memory (None: the usual), above `max_percent` of pressure.

        `on_short` is called at each look while it holds: what the agent keeps for later is to be let go.
        """
        self._holds = holds
        self._min_bytes = min_bytes
        self._max_percent = max_percent
        self._read = read
        self._on_short = on_short
        self._is_blind = False
        self._held: set[str] = set()

    async def run(self) -> None:
        """Look until cancelled."""
        if self._min_bytes == 0 and not self._max_percent:
            return
        await Lookout(
            self._seen,
            is_news=lambda seen: self.is_news(seen[0]),
            take=lambda seen: self.take(*seen),
            on_problem=lambda exc: self.take(*unseen(exc)),
            every_s=LOOK_INTERVAL_S,
        ).run()

    def _seen(self) -> Seen:
        try:
            return self._read(), None
        except Exception as exc:  # noqa: BLE001 - what holds now must not for ever
            return unseen(exc)

    def is_news(self, state: MemoryState) -> bool:
        """Tell whether a state, taken, would change anything: while claims are held, each look is of use."""
        if self._held or is_blind(state) != self._is_blind:
            return True
        lack = lack_of_room(state.rooms, self._min_bytes) or lack_of_speed(state.pressure, self._max_percent)
        return lack is not None

    def take(self, state: MemoryState, problem: str | None = None) -> None:
        """Hold, or let go on; what cannot be read, because of a problem perhaps, holds nothing."""
        ratio = RESUME_RATIO if ROOM in self._held else 1.0
        hint = "runs and other programs hold it, idle processes of the agent are let go; run fewer at once,"
        hint += " or lower MILLHAND_MIN_MEMORY"
        self._hold(ROOM, lack_of_room(state.rooms, self._min_bytes, ratio), hint)
        ratio = CALM_RATIO if SPEED in self._held else 1.0
        hint = "run fewer at once, or give the machine more memory; MILLHAND_MEMORY_PRESSURE is the limit"
        self._hold(SPEED, lack_of_speed(state.pressure, self._max_percent, ratio), hint)
        if self._held:
            self._on_short()
        was_blind, self._is_blind = self._is_blind, is_blind(state)
        if self._is_blind and not was_blind:
            hint = "claims are not held for want of memory: it cannot be read here"
            log.warning("memory.unknown", problem=problem, hint=hint)

    def _hold(self, name: str, reason: str | None, hint: str) -> None:
        if reason is not None:
            self._held.add(name)
            self._holds.hold(name, reason, hint)
        else:
            self._held.discard(name)
            self._holds.lift(name)


def unseen(problem: Exception) -> Seen:
    """Return what is known where nobody could look."""
    return MemoryState(None, ()), f"{type(problem).__name__}: {problem}"


def is_blind(state: MemoryState) -> bool:
    """Tell whether nothing could be read."""
    return not state.rooms and state.pressure is None


def lack_of_room(rooms: Iterable[Room], min_bytes: int | None, ratio: float = 1.0) -> str | None:
    """Return what is missing in the first that lacks; None where there is enough, or nobody can tell."""
    lacks = (lack_in(room, min_bytes, ratio) for room in rooms)
    return next((lack for lack in lacks if lack is not None), None)


def lack_in(room: Room, min_bytes: int | None, ratio: float) -> str | None:
    """Return what one of them lacks."""
    if min_bytes == 0:
        return None
    wanted_bytes = min(USUAL_BYTES, room.total_bytes // USUAL_SHARE)
    if min_bytes is not None:
        wanted_bytes = min(min_bytes, room.total_bytes // SHARE_MAX)
    if room.available_bytes >= wanted_bytes * ratio:
        return None
    available = f"{size_text(room.available_bytes)} are available"
    return f"{available}, at least {size_text(wanted_bytes)} are wanted ({room.source})"


def lack_of_speed(pressure: Pressure | None, max_percent: float, ratio: float = 1.0) -> str | None:
    """Return how much everything waits for memory; None where that is little, or nobody can tell."""
    if pressure is None or not max_percent or pressure.percent <= max_percent * ratio:
        return None
    stood = f"everything stood still for memory in {pressure.percent:g} % of the last 10 s"
    return f"{stood}, {max_percent:g} % are allowed ({pressure.source})"
