"""Stop runs whose agents fell silent; see `server.store.sql.reaping` for what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import structlog

from server.store.commands import ReapRuns
from server.store.refusal import StoreBusy, StoreFailed
from server.store.store import Store
from worker.clock import Clock

__all__ = ["Patience", "Reaper"]

LOOKS_PER_LEASE: Final = 10
SOONEST_LOOK_S: Final = 0.05
LATEST_LOOK_S: Final = 5.0
MOST_AT_ONCE: Final = 200  # runs in one transaction, so that others do not wait long
BUSY_SHARE: Final = 0.5  # of a lease; agents report six times in one
JUMP_S: Final = 1.0  # of the clock of leases against the one that cannot be set

log = structlog.get_logger(__name__)


class Patience:
    """When silence may be held against a run: not after a start, a pause, a jump, or a failing database.

    While this server did not listen, no agent could be heard; each gets a full lease to report anew.
    """

    def __init__(self, clock: Clock, lease_s: float, look_s: float) -> None:
        """Begin at a start of the server."""
        self._clock = clock
        self._lease_s = lease_s
        self._look_s = look_s
        self._wall, self._mono = self._times()
        self._until_mono = self._mono + lease_s

    def is_over(self) -> bool:
        """Tell whether silence counts now; called at each look."""
        wall, mono = self._times()
        passed_s = mono - self._mono
        jumped = abs((wall - self._wall) - passed_s) > JUMP_S
        paused = passed_s > self._look_s + max(JUMP_S, self._look_s)
        self._wall, self._mono = wall, mono
        if jumped or paused:
            self.begin_anew()
            log.warning("reaper.patient", clock_jumped=jumped, paused=paused, for_s=self._lease_s)
        return mono >= self._until_mono

    def looked(self) -> None:
        """Leave out the time that the look itself took; a jump of the clock meanwhile is still seen."""
        mono = self._clock.mono()
        self._wall, self._mono = self._wall + (mono - self._mono), mono

    def begin_anew(self) -> None:
        """Grant everybody a full lease from now on: what agents said could not be stored."""
        self._until_mono = self._clock.mono() + self._lease_s

    def _times(self) -> tuple[float, float]:
        return self._clock.now().timestamp(), self._clock.mono()


class Reaper:
    """Looks for silent runs as long as it is entered."""

    def __init__(
        self, store: Store, clock: Clock, lease_s: float, on_lost: Callable[[int], None] = lambda _runs: None
    ) -> None:
        """Take where runs are, how long they may be silent, and whom to tell how many were stopped."""
        self._on_lost = on_lost
        self._store = store
        self._clock = clock
        self._lease_s = lease_s
        self._look_s = min(LATEST_LOOK_S, max(SOONEST_LOOK_S, lease_s / LOOKS_PER_LEASE))
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to look."""
        self._task = asyncio.create_task(self._look_for_ever(), name="reaper")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look_for_ever(self) -> None:
        patience = Patience(self._clock, self._lease_s, self._look_s)
        done_mono = self._clock.mono()
        while True:
            await asyncio.sleep(self._look_s)
            if not patience.is_over():
                continue
            try:
                await self._reap()
                done_mono = self._clock.mono()
            except StoreBusy as exc:
                # A moment is nothing; for long, as while a migration holds a table, reports are refused too.
                log.warning("reaper.delayed", reason=str(exc))
                if self._clock.mono() - done_mono > self._lease_s * BUSY_SHARE:
                    patience.begin_anew()
            except StoreFailed as exc:
                log.warning("reaper.delayed", reason=str(exc), for_s=self._lease_s)
                patience.begin_anew()
            except Exception:
                log.exception("reaper.failed", consequence="silent runs keep their tasks until the next look")

    async def _reap(self) -> None:
        """Stop silent runs.

        Raises:
            StoreBusy, StoreFailed: the database did not do what was asked.
        """
        command = ReapRuns(lease_ms=int(self._lease_s * 1000), most=MOST_AT_ONCE)
        while count := await self._store.apply(command):
            self._on_lost(count)
            log.warning(
                "runs.lost", count=count, hint="their agents were silent; the tasks are pending again"
            )
            if count < MOST_AT_ONCE:
                break
