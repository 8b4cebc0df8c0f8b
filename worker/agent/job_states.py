"""What the user wants of each job that has a run here; asked once per job, not once per run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

import structlog

from worker.api.client import JobsApi
from worker.api.errors import ApiError
from worker.clock import Clock

__all__ = ["JobStates", "Wish", "wish_of"]

KNOWN_MAX = 10_000  # jobs remembered; the oldest is forgotten first
log = structlog.get_logger()


class Wish(Enum):
    """What a job's `schedulerState` asks of an agent."""

    GO_ON = "go on"
    START_NOTHING = "start nothing"  # running ones go on
    STOP = "stop"  # running ones are stopped as cancelled, and never requeued


def wish_of(state: str | None) -> Wish:
    """Read a `schedulerState`; an unknown word starts nothing new, an unknown state changes nothing."""
    if state is None or state == "active":
        return Wish.GO_ON
    return Wish.STOP if state in {"stopped", "cancelled", "canceled"} else Wish.START_NOTHING


class JobStates:
    """The states of jobs, from the answers that tell them and from looks of its own."""

    def __init__(self, api: JobsApi, clock: Clock, interval_s: float) -> None:
        """`interval_s` is how old a state may be."""
        self._api = api
        self._clock = clock
        self._interval_s = interval_s
        self._known: dict[str, tuple[float, str | None]] = {}
        self._watched: dict[str, list[Callable[[], None]]] = {}

    def note(self, job_id: str | None, state: str | None) -> None:
        """Keep what an answer told, and stop the runs of a job that is to be stopped."""
        if job_id is None or state is None:
            return
        self._known.pop(job_id, None)
        self._known[job_id] = (self._clock.mono(), state)
        while len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]
        if wish_of(state) is Wish.STOP:
            for stop in self._watched.get(job_id, ()):
                stop()

    async def wish(self, job_id: str | None) -> Wish:
        """Return what the user wants now; a look that fails changes nothing."""
        if job_id is None:
            return Wish.GO_ON
        at_mono, state = self._known.get(job_id, (float("-inf"), None))
        if self._clock.mono() - at_mono > self._interval_s:
            state = await self._look(job_id, state)
        return wish_of(state)

    def watch(self, job_id: str | None, stop: Callable[[], None]) -> Callable[[], None]:
        """Call `stop` when the job is to be stopped; returns what ends the watch."""
        if job_id is None:
            return lambda: None
        self._watched.setdefault(job_id, []).append(stop)

        def end() -> None:
            stops = self._watched.get(job_id, [])
            if stop in stops:
                stops.remove(stop)
            if not stops:
                self._watched.pop(job_id, None)

        return end

    async def run(self) -> None:
        """Look at the jobs that have runs here, until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            for job_id in list(self._watched):
                await self.wish(job_id)

    async def _look(self, job_id: str, before: str | None) -> str | None:
        try:
            job = await self._api.get_job(job_id)
        except ApiError as error:
            log.debug("job.not_seen", job_id=job_id, error=str(error))
            self._known[job_id] = (self._clock.mono(), before)
            return before
        self.note(job_id, job.scheduler_state or "active")
        return job.scheduler_state
