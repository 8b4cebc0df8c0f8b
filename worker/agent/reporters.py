"""Reporters of this agent's runs: of one that begins here, and of one that an earlier life left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import structlog
from msgspec import Struct

from worker.agent.identity import our_identity
from worker.agent.job_states import JobStates
from worker.agent.reporting_task import until_lost
from worker.agent.turns import Turns
from worker.agent.wire_run import RunWire
from worker.api.client import JobsApi
from worker.api.errors import ApiError
from worker.api.models import Identity, Run
from worker.clock import Clock
from worker.executor.executor import ProgressEvent, UsageEvent
from worker.executor.lease import Lease
from worker.reporting.records import Entry
from worker.reporting.reporter import Reporter

__all__ = ["Held", "ReportTimes", "Reporters", "Saying"]

log = structlog.get_logger()


class ReportTimes(Struct, frozen=True, kw_only=True):
    """How often a run reports. Seconds."""

    report_interval_s: float
    heartbeat_s: float
    lag_s: float  # how long reads of the server may lag behind its writes


class Held(Struct):
    """A run that has ended, and goes on reporting while its files are stored."""

    run_id: str
    reporting: asyncio.Task[bool]  # ends when the run is lost; True: it is another's now
    tell: Callable[[str], None]  # says something with the next report
    answered: Callable[[float], Awaitable[bool]]  # `Reporter.answered`


class Reporters:
    """Make reporters; the answers they get tell the states of jobs."""

    def __init__(
        self,
        *,
        api: JobsApi,
        runs: RunWire,
        clock: Clock,
        times: ReportTimes,
        machine: Callable[[], Mapping[str, Any]],
        jobs: JobStates,
        on_took: Callable[[float], None] = lambda _: None,
        turns: Turns | None = None,
    ) -> None:
        """`machine` gives what is known of it now; `on_took` gets the seconds that each answer took.

        `turns` are told that each of them reports.
        """
        self._turns = turns or Turns(clock)
        self._on_took = on_took
        self._api = api
        self._runs = runs
        self._clock = clock
        self._times = times
        self._machine = machine
        self._jobs = jobs

    def reporter(
        self,
        run: Run,
        identity: Identity,
        job_id: str | None,
        on_lost: Callable[[str], None],
        lease: Lease | None = None,
        *,
        has_run_here: bool = True,
    ) -> Reporter:
        """Return the reporter of a run; `on_lost` is told why, when the run is not ours any more.

        A run that has not run here (`has_run_here`) is told nothing of this machine.
        """
        return Reporter(
            self._api,
            self._clock,
            run,
            identity,
            report_interval_s=self._times.report_interval_s,
            heartbeat_s=self._times.heartbeat_s,
            lag_s=self._times.lag_s,
            machine=self._machine if has_run_here else dict,
            on_answer=lambda answer: self._jobs.note(job_id, answer.scheduler_state),
            on_lost=on_lost,
            lease=lease,
            on_took=self._on_took,
            on_step=partial(self._turns.note, f"reports of {run.id}"),
        )

    def resume(self, entry: Entry) -> Held:
        """Go on reporting a run of an earlier life, once it is seen to be ours still."""
        saying = Saying(float((entry.ended or {}).get("progress") or 0.0))
        return Held(
            entry.run_id, asyncio.create_task(self._resumed(entry, saying)), saying.tell, saying.answered
        )

    async def _resumed(self, entry: Entry, saying: Saying) -> bool:
        run = await self._seen(entry)
        identity = our_identity(entry, run)
        if identity is None or run.raw.get("stoppedAt"):
            return identity is None
        # The machine may be another one since: a folder that moved, a node that was resized.
        reporter = self.reporter(run, identity, entry.job_id, lambda _: None, has_run_here=False)
        if entry.usage is not None:
            reporter.note(UsageEvent(entry.usage))
        saying.begin(reporter)
        return await until_lost(reporter)

    async def _seen(self, entry: Entry) -> Run:
        """Read a run until it is seen; who says that there is none may be an ingress, or lag."""
        while True:
            try:
                if (run := await self._runs.look(entry.run_id)) is not None:
                    return run
            except ApiError as error:
                log.warning("report.failed", run_id=entry.run_id, error=str(error))
            await asyncio.sleep(self._times.heartbeat_s)


class Saying:
    """What a run says beside its progress, also before there is a reporter to say it."""

    def __init__(self, progress: float) -> None:
        """`progress` is what the handler reached."""
        self._progress = progress
        self._message = "storing files"
        self._reporter: Reporter | None = None

    def begin(self, reporter: Reporter) -> None:
        """Say by this reporter what is to be said."""
        self._reporter = reporter
        self.tell(self._message)

    async def answered(self, limit_s: float) -> bool:
        """Wait for the report that is on its way; see `Reporter.answered`."""
        return self._reporter is None or await self._reporter.answered(limit_s)

    def tell(self, message: str) -> None:
        """Say something with the next report."""
        self._message = message
        if self._reporter is not None:
            self._reporter.note(ProgressEvent(self._progress, message))
