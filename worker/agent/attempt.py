"""One task from its claim to its outcome on disk: a straight line down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from msgspec import Struct

from worker.agent.claim import Claim, Claimer
from worker.agent.drain import Drain
from worker.agent.gpus import Gpus
from worker.agent.job_states import JobStates, Wish
from worker.api.client import JobsApi
from worker.api.models import Run, Task
from worker.api.wire import ErrorKind, ResultCode
from worker.clock import Clock
from worker.executor.assignment import Assignment
from worker.executor.executor import Event, Executor, StopRequest, UsageEvent
from worker.executor.outcome import Outcome, RunError
from worker.reporting.journal import EntryTooLarge, Journal, JournalError
from worker.reporting.records import Entry
from worker.reporting.report import terminal_report
from worker.reporting.reporter import Reporter
from worker.usage.usage import rounded

__all__ = ["AttemptTimes", "Attempts"]

CHECKPOINT_S = 10.0  # between two notes of a run's usage in the journal
INTERRUPTIONS_MAX = 100  # runs of one task that ended by no fault of its own, before it is left to a person
INTERRUPTIONS = frozenset({ErrorKind.DRAINED, ErrorKind.PREEMPTED, ErrorKind.WORKER_LOST})
KNOWN_FIELDS = frozenset(
    {"id", "jobId", "orgId", "type", "title", "parameters", "createdBy", "createdAt", "updatedAt"}
    | {"runStatus", "runResult", "runProgress", "reportProgress", "priority"}
)
log = structlog.get_logger()


class AttemptTimes(Struct, frozen=True, kw_only=True):
    """How often a run reports. Seconds."""

    report_interval_s: float
    heartbeat_s: float
    lag_s: float  # how long reads of the server may lag behind its writes


class Attempts:
    """Execute tasks, one attempt each."""

    def __init__(
        self,
        *,
        claimer: Claimer,
        executor: Executor,
        api: JobsApi,
        journal: Journal,
        jobs: JobStates,
        drain: Drain,
        clock: Clock,
        times: AttemptTimes,
        max_attempts: int,
        machine: Callable[[], Mapping[str, Any]],
        gpus: Gpus,
        on_settled: Callable[[str], None],
        on_ended: Callable[[Entry], None],
    ) -> None:
        """Take the parts.

        `machine` gives the facts with their sources; `on_settled` is told (the task's id) when a
        claim is decided, either way; `on_ended` gets the journal's entry of each
        outcome, to be delivered beside further runs.
        """
        self._claimer = claimer
        self._executor = executor
        self._api = api
        self._journal = journal
        self._jobs = jobs
        self._drain = drain
        self._clock = clock
        self._times = times
        self._max_attempts = max_attempts
        self._machine = machine
        self._gpus = gpus
        self._on_settled = on_settled
        self._on_ended = on_ended

    async def run(self, task: Task) -> bool:
        """Claim a task and execute it; returns False where it was left to others.

        When this returns, the outcome is in the journal and no process of the run is left.
        """
        gpus = self._gpus.take(task)
        if gpus is None:
            return False
        try:
            return await self._run_with(task, gpus)
        finally:
            self._gpus.give_back(gpus)

    async def _run_with(self, task: Task, gpus: tuple[str, ...]) -> bool:
        if not self._api.traits.claims_unique and await self._jobs.wish(task.job_id) is not Wish.GO_ON:
            return False
        try:
            claim = await self._claimer.claim(task)
        finally:
            self._on_settled(task.id)
        if claim is None:
            return False
        if claim.is_elected:
            await self._journal.mark(claim.run.id, "elected")
        with structlog.contextvars.bound_contextvars(task_id=task.id, run_id=claim.run.id):
            log.debug("run.claimed", type=task.type, attempt=claim.attempt)
            self._jobs.note(task.job_id, claim.run.scheduler_state)
            await self._execute(claim, gpus)
        return True

    async def _execute(self, claim: Claim, gpus: tuple[str, ...]) -> None:
        stop = StopRequest()
        reporter = self._reporter(claim, stop)
        end_watch = self._jobs.watch(claim.task.job_id, lambda: self._cancel(stop))
        end_drain = self._drain.follow(stop)
        reporting = asyncio.create_task(reporter.run())
        try:
            outcome = await self._outcome(assignment_of(claim, gpus), stop, reporter)
        finally:
            end_watch()
            end_drain()
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)
        await self._finish(claim, outcome, reporter)

    def _reporter(self, claim: Claim, stop: StopRequest) -> Reporter:
        return Reporter(
            self._api,
            self._clock,
            claim.run,
            claim.identity,
            report_interval_s=self._times.report_interval_s,
            heartbeat_s=self._times.heartbeat_s,
            lag_s=self._times.lag_s,
            machine=self._machine(),
            on_answer=lambda run: self._jobs.note(claim.task.job_id, run.scheduler_state),
            on_lost=lambda why: stop.request(ErrorKind.LOST_CLAIM, why, 0.0),
        )

    def _cancel(self, stop: StopRequest) -> None:
        stop.request(ErrorKind.CANCELLED, "the job was stopped", self._drain.grace_s)

    async def _outcome(self, assignment: Assignment, stop: StopRequest, reporter: Reporter) -> Outcome:
        """Run the handler; what was stopped before it began ends without having run."""
        if stop.is_requested:
            return stopped_before_start(stop)
        checkpoint_at_mono = self._clock.mono() + CHECKPOINT_S
        notes: set[asyncio.Task[None]] = set()

        def on_event(event: Event) -> None:
            nonlocal checkpoint_at_mono
            reporter.note(event)
            if isinstance(event, UsageEvent) and self._clock.mono() >= checkpoint_at_mono:
                checkpoint_at_mono = self._clock.mono() + CHECKPOINT_S
                note = asyncio.create_task(self._journal.checkpoint(assignment.run_id, usage=event.usage))
                notes.add(note)
                note.add_done_callback(notes.discard)

        try:
            return await self._executor.execute(assignment, stop, on_event)
        except Exception as error:
            log.error("agent.fault", exc_info=error)  # a run must end, whatever we did wrong
            message = f"the agent failed to run it: {type(error).__name__}: {error}"
            return Outcome(code=ResultCode.FAILED, error=RunError(kind=ErrorKind.INTERNAL, message=message))
        finally:
            if notes:
                await asyncio.gather(*notes, return_exceptions=True)

    async def _finish(self, claim: Claim, outcome: Outcome, reporter: Reporter) -> None:
        """Write the outcome down; a run that is somebody else's by now is only noted."""
        if outcome.code is ResultCode.SUCCESS:
            reporter.state.progress = 1.0
        report = terminal_report(
            outcome, claim.identity, self._clock.now(), reporter.state.progress, reporter.untold_machine
        )
        has_value = outcome.code is ResultCode.SUCCESS
        if reporter.is_lost and not has_value:
            await self._journal.close_entry(claim.run.id)
            return
        requeue = not reporter.is_lost and self._is_requeued(claim, outcome)
        await self._write(claim, report, requeue)
        self._log_end(claim, outcome, requeue)
        if reporter.is_taken:
            log.error("outcome.fenced", hint="the run is another agent's; the result is in the journal")
            await self._journal.mark(claim.run.id, "fenced")
        else:
            self._on_ended(self._journal.entries[claim.run.id])

    async def _write(self, claim: Claim, report: dict[str, Any], requeue: bool) -> None:
        """Have the outcome on disk; where the disk refuses, deliver it from memory and tell a person."""
        try:
            try:
                await self._journal.terminal(claim.run.id, report, requeue=requeue)
            except EntryTooLarge as error:
                await self._journal.terminal(claim.run.id, too_large(report, error))
        except JournalError as error:
            log.error(
                "journal.refused", error=str(error), hint="free the disk; nothing is claimed until then"
            )

    def _is_requeued(self, claim: Claim, outcome: Outcome) -> bool:
        """Tell whether the task becomes pending again after this end."""
        if outcome.error is None or outcome.error.kind is ErrorKind.CANCELLED:
            return False
        if outcome.error.kind in INTERRUPTIONS:
            return claim.attempt < INTERRUPTIONS_MAX
        return outcome.error.retryable and own_faults(claim.known) + 1 < self._max_attempts

    def _log_end(self, claim: Claim, outcome: Outcome, requeue: bool) -> None:
        """The one line that a run leaves in the log."""
        log.info(
            "run.ended",
            type=claim.task.type,
            result=str(outcome.code),
            error=outcome.error.text() if outcome.error else None,
            wall_s=rounded(outcome.usage.wall_s),
            cpu_s=rounded(outcome.usage.cpu_s),
            ram_peak_bytes=outcome.usage.ram_peak_bytes,
            attempt=claim.attempt,
            requeued=requeue,
        )


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


def stopped_before_start(stop: StopRequest) -> Outcome:
    """Return the outcome of a run that was told to stop before its handler began."""
    kind = stop.kind or ErrorKind.INTERNAL
    message = stop.message or "stopped before the handler began"
    return Outcome(code=ResultCode.FAILED, error=RunError(kind=kind, message=message, retryable=True))


def own_faults(runs: tuple[Run, ...]) -> int:
    """Count the earlier runs that failed by the task's own fault."""
    not_its_own = {*map(str, INTERRUPTIONS), str(ErrorKind.LOST_CLAIM), str(ErrorKind.REQUEUED)}
    return sum(
        1 for run in runs if run.result_code == ResultCode.FAILED and run.error_kind not in not_its_own
    )


def too_large(report: dict[str, Any], error: EntryTooLarge) -> dict[str, Any]:
    """Return the report of a run whose results are larger than anything that can be kept."""
    failure = RunError(kind=ErrorKind.INTERNAL, message=f"the results are too large: {error}")
    return {
        **report,
        "resultCode": str(ResultCode.FAILED),
        "error": failure.text(),
        "results": {"error": failure.as_results()},
    }
