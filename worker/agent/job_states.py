"""What the user wants of each job that has a run here; asked once per job, not once per run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

import structlog

from worker.agent.errands import Errands
from worker.agent.turns import Turns
from worker.api.client import JobsApi
from worker.api.errors import ApiError
from worker.api.models import Task
from worker.clock import Clock

__all__ = ["JobStates", "Wish", "wish_of"]

JOBS = "states of jobs"  # the loop that looks at them
KNOWN_MAX = 10_000  # jobs remembered; the oldest is forgotten first
PAUSED_MAX = 16  # of them looked at beside those that have runs here; the rest when their tasks are tried
PAUSED_S = 600.0  # how long after its tasks were last listed
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

    def __init__(self, api: JobsApi, clock: Clock, interval_s: float, turns: Turns | None = None) -> None:
        """`interval_s` is how old a state may be; `turns` are told that it looks."""
        self._turns = turns or Turns(clock)
        self._api = api
        self._clock = clock
        self._interval_s = interval_s
        self._known: dict[str, tuple[float, str | None]] = {}
        self._watched: dict[str, list[Callable[[], None]]] = {}
        self._looks = Errands()  # as many as there are slots, and a few
        self._looking: set[str] = set()
        self._paused: dict[str, float] = {}  # jobs whose tasks are left, and when that was asked last

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

    def unmet(self, task: Task) -> tuple[str, ...]:
        """Return why a task's job keeps it from being started; servers of others list such tasks as pending.

        The job is looked at now and then while its tasks are asked about.
        """
        known = self._known.get(task.job_id or "")
        if known is None or wish_of(known[1]) is Wish.GO_ON or self._api.traits.claims_unique:
            return ()
        job_id = task.job_id or ""
        if job_id in self._paused or len(self._paused) < PAUSED_MAX:
            self._paused[job_id] = self._clock.mono()
        return (f"its job is {known[1]}",)

    def _forget_paused(self) -> None:
        """Look no more at jobs that nobody asks about, or that go on."""
        now = self._clock.mono()
        for job_id, asked_mono in list(self._paused.items()):
            _, state = self._known.get(job_id, (now, None))
            if now - asked_mono > PAUSED_S or wish_of(state) is Wish.GO_ON:
                del self._paused[job_id]

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
        """Look at the jobs that have runs here, beside each other, until cancelled."""
        try:
            while True:
                self._turns.note(JOBS, self._interval_s)
                await asyncio.sleep(self._interval_s)
                self._forget_paused()
                for job_id in {*self._watched, *self._paused} - self._looking:
                    self._looking.add(job_id)
                    self._looks.start(self._refresh(job_id))
        finally:
            self._turns.note(JOBS, None)
            await self._looks.settle(0.0)

    async def _refresh(self, job_id: str) -> None:
        try:
            await self.wish(job_id)
        finally:
            self._looking.discard(job_id)

    async def _look(self, job_id: str, before: str | None) -> str | None:
        try:
            job = await self._api.get_job(job_id)
        except ApiError as error:
            log.debug("job.not_seen", job_id=job_id, error=str(error))
            self._known[job_id] = (self._clock.mono(), before)
            return before
        self.note(job_id, job.scheduler_state or "active")
        return job.scheduler_state
