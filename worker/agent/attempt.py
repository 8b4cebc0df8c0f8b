"""One task from its claim to its outcome on disk: a straight line down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from worker.agent.claim import Claim, Claiming
from worker.agent.drain import Drain
from worker.agent.ending import Endings
from worker.agent.gpus.pool import Gpus
from worker.agent.holds import Holds
from worker.agent.job_states import JobStates, Wish
from worker.agent.operators.activity import Activity
from worker.agent.places import Places
from worker.agent.reporters import Reporters
from worker.agent.reporting_task import Reporting
from worker.agent.shared_timer import SharedTimer
from worker.api.client import JobsApi
from worker.api.models import Task
from worker.api.wire import ErrorKind, ResultCode
from worker.clock import Clock
from worker.executor.assignment import Assignment
from worker.executor.executor import Event, Executor, StopRequest, UsageEvent
from worker.executor.last_bill import LastBill
from worker.executor.lease import Lease
from worker.executor.outcome import Outcome, RunError
from worker.reporting.journal import Journal
from worker.reporting.reporter import Reporter

__all__ = ["Attempts"]

LOOK_S = 0.1  # at a lease that is nearly over, for a report that renews it
CHECKPOINT_S = 10.0  # between two notes of a run's usage in the journal, at most …
FIRST_CHECKPOINT_S = 0.5  # … and after its start; short runs, of which there may be many, have none
KNOWN_FIELDS = frozenset(
    {"id", "jobId", "orgId", "type", "title", "parameters", "createdBy", "createdAt", "updatedAt"}
    | {"runStatus", "runResult", "runProgress", "reportProgress", "priority"}
)
log = structlog.get_logger()


class Attempts:
    """Execute tasks, one attempt each."""

    def __init__(
        self,
        *,
        claimer: Claiming,
        executor: Executor,
        api: JobsApi,
        journal: Journal,
        jobs: JobStates,
        drain: Drain,
        holds: Holds,
        clock: Clock,
        reporters: Reporters,
        endings: Endings,
        gpus: Gpus,
        activity: Activity,
        places: Places,
        on_settled: Callable[[str, bool], None],
    ) -> None:
        """Take the parts; `on_settled` is told when a claim is decided: the task's id, whether it is ours."""
        self._claimer = claimer
        self._executor = executor
        self._api = api
        self._journal = journal
        self._jobs = jobs
        self._drain = drain
        self._holds = holds
        self._clock = clock
        self._reporters = reporters
        self._endings = endings
        self._gpus = gpus
        self._activity = activity
        self._places = places
        self._on_settled = on_settled
        self._first_reports = SharedTimer()
        self._log = log.bind()  # one for all: the module's makes one for each line, told or not

    async def run(self, task: Task, on_over: Callable[[], None] = lambda: None) -> bool:
        """Claim a task and execute it; returns False where it was left to others.

        When this returns, the outcome is in the journal and no process of the run is left; its files
        may be on their way to the store still. `on_over` is told before, when no process is left and
        only the journal is waited for, of a run that has no GPUs.
        """
        gpus = self._gpus.take(task)
        if gpus is None:
            return False
        try:
            return await self._gpus.are_well(gpus) and await self._run_with(task, gpus, on_over)
        finally:
            self._gpus.give_back(task.id, gpus)

    async def _run_with(self, task: Task, gpus: tuple[str, ...], on_over: Callable[[], None]) -> bool:
        if not self._api.traits.claims_unique and await self._jobs.wish(task.job_id) is not Wish.GO_ON:
            return False
        if self._drain.is_requested or self._holds.is_held:
            return (
                False  # since the task was chosen: the looks before take seconds where GPU or server is slow
            )
        asked_mono = self._clock.mono()
        claim = await self._claimer.claim(task)
        self._on_settled(task.id, claim is not None)
        if claim is None:
            return False
        if claim.is_elected:
            await self._journal.mark(claim.run.id, "elected")
        # For the rest of the asyncio task, which is this attempt's own.
        structlog.contextvars.bind_contextvars(task_id=task.id, run_id=claim.run.id)
        self._log.debug("run.claimed", type=task.type, attempt=claim.attempt)
        self._jobs.note(task.job_id, claim.run.scheduler_state)
        lease = Lease()
        lease.renew(asked_mono if claim.since_mono is None else claim.since_mono, claim.run.lease_s)
        await self._execute(claim, gpus, lease, on_over)
        return True

    async def _execute(
        self, claim: Claim, gpus: tuple[str, ...], lease: Lease, on_over: Callable[[], None]
    ) -> None:
        stop = StopRequest()
        reporter = self._reporters.reporter(
            claim.run, claim.identity, claim.task.job_id,
            on_lost=lambda why: stop.request(ErrorKind.LOST_CLAIM, why, 0.0), lease=lease,
        )  # fmt: skip
        reporting = Reporting(reporter, self._first_reports)
        stop.listen(lambda: tell_interruption(stop, reporter, reporting))
        end_watch = self._jobs.watch(claim.task.job_id, lambda: self._cancel(stop))
        end_drain = self._drain.follow(stop)
        self._activity.begin(
            run_id=claim.run.id,
            task_id=claim.task.id,
            type_=claim.task.type or "",
            gpus=gpus,
            state=reporter.state,
            lease=lease,
        )
        try:
            await self._wait_for_lease(lease, stop)
            outcome = await self._outcome(assignment_of(claim, gpus), stop, reporter, lease)
            self._gpus.judge(claim.task.id, gpus, outcome)
            self._activity.end(claim.run.id, outcome)
        except BaseException:
            await reporting.end()
            raise
        finally:
            self._activity.leave(claim.run.id)
            end_watch()
            end_drain()
        try:
            if not gpus:
                on_over()  # the next claim begins in the loop's next round, before the journal's write
        finally:
            await self._endings.end(claim, outcome, reporter, reporting)

    def _cancel(self, stop: StopRequest) -> None:
        stop.request(ErrorKind.CANCELLED, "the job was stopped", self._drain.grace_s)

    async def _wait_for_lease(self, lease: Lease, stop: StopRequest) -> None:
        """Start no handler when a claim took so long that its lease is nearly over; a report renews it."""
        if self._clock.mono() >= lease.freeze_mono:
            log.warning("run.waits_for_lease", hint="the claim took longer than the server's patience")
        while self._clock.mono() >= lease.freeze_mono and not stop.is_requested:  # noqa: ASYNC110 - rare
            await asyncio.sleep(LOOK_S)

    async def _outcome(
        self, assignment: Assignment, stop: StopRequest, reporter: Reporter, lease: Lease
    ) -> Outcome:
        """Run the handler in its place; what was stopped before it had one ends without having run."""
        if stop.is_requested or not await self._places.take(assignment.run_id, stop):
            return stopped_before_start(stop)
        try:
            return await self._outcome_in_place(assignment, stop, reporter, lease)
        finally:
            self._places.leave(assignment.run_id, is_short=not assignment.gpus)

    async def _outcome_in_place(
        self, assignment: Assignment, stop: StopRequest, reporter: Reporter, lease: Lease
    ) -> Outcome:
        started_mono = self._clock.mono()
        checkpoint_at_mono = started_mono + FIRST_CHECKPOINT_S

        def on_event(event: Event) -> None:
            nonlocal checkpoint_at_mono
            reporter.note(event)
            now = self._clock.mono()
            if isinstance(event, UsageEvent) and now >= checkpoint_at_mono:
                checkpoint_at_mono = now + min(now - started_mono, CHECKPOINT_S)
                self._journal.checkpoint(assignment.run_id, usage=event.usage)

        bill = LastBill(on_event)
        try:
            return await self._executor.execute(assignment, stop, bill, lease)
        except Exception as error:
            log.error("agent.fault", exc_info=error)  # a run must end, whatever we did wrong
            message = f"the agent failed to run it: {type(error).__name__}: {error}"
            fault = RunError(kind=ErrorKind.INTERNAL, message=message)
            return Outcome(code=ResultCode.FAILED, error=fault, usage=bill.after_fault(message))


def assignment_of(claim: Claim, gpus: tuple[str, ...]) -> Assignment:
    """Return what the executor is given; the task's further fields (image, cmd, …) go along."""
    task = claim.task
    return Assignment(
        run_id=claim.run.id,
        task_id=task.id,
        job_id=task.job_id,
        type=task.type or "",
        title=task.title,
        parameters=task.parameters,
        task={name: value for name, value in task.raw.items() if name not in KNOWN_FIELDS},
        attempt=claim.attempt,
        resume=claim.resume,
        gpus=gpus,
    )


def tell_interruption(stop: StopRequest, reporter: Reporter, reporting: Reporting) -> None:
    """Have the server told at once that a run is interrupted: its agent may not live to tell more."""
    if stop.kind in (ErrorKind.DRAINED, ErrorKind.PREEMPTED):
        reporter.tell_stop(str(stop.kind), stop.message)
        reporting.begin()


def stopped_before_start(stop: StopRequest) -> Outcome:
    """Return the outcome of a run that was told to stop before its handler began."""
    kind = stop.kind or ErrorKind.LOST_CLAIM  # claimed ahead, and no slot became free soon
    message = stop.message or "given back before it began: another run takes longer than those before it"
    return Outcome(code=ResultCode.FAILED, error=RunError(kind=kind, message=message, retryable=True))
