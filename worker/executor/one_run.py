"""One run in one child, from its first measurement to its outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from msgspec.structs import replace

from worker.api.wire import ResultCode
from worker.clock import Clock
from worker.executor.child_task import ChildTask
from worker.executor.deadlines import RunLimits
from worker.executor.ends import End, classify
from worker.executor.evidence import Evidence
from worker.executor.executor import UsageEvent
from worker.executor.files import handed_over, take_files
from worker.executor.frames import Assign
from worker.executor.link import ChildLink
from worker.executor.outcome import NOT_STARTED, Outcome
from worker.executor.output import OutputRules
from worker.executor.reuse import Fate
from worker.executor.shield import to_the_end
from worker.executor.steering import Steering
from worker.executor.telling import with_last_lines, without_secrets
from worker.executor.workdir import Workdirs
from worker.redaction import Redactor
from worker.storage.file import SpooledFile
from worker.storage.spool import Spool
from worker.usage.gpu_meter import GpuAccounts, RunMeters
from worker.usage.meter import Meter
from worker.usage.readings import Left
from worker.usage.usage import Usage, unmeasured

__all__ = ["OneRun", "Ran", "RunParts", "outcome_of"]

JudgeChild = Callable[[Evidence, Left | None], Awaitable[Fate]]


class RunParts(NamedTuple):
    """What every run of an executor needs; see `worker.executor.process_executor.ProcessExecutor`."""

    clock: Clock
    workdirs: Workdirs
    spool: Spool
    oom_kills: Callable[[], int | None]  # in the agent's whole container, so far
    load_timeout_s: float
    redactor: Callable[[], Redactor]
    output: OutputRules
    gpus: GpuAccounts | None


class Ran(NamedTuple):
    """The end of a run."""

    outcome: Outcome
    fate: Fate  # of its child; ended already where it is END


class OneRun:
    """One run, whose child is there."""

    def __init__(
        self, link: ChildLink, assign: Assign, steering: Steering, workdir: str, parts: RunParts
    ) -> None:
        """Take the child, what it is to run, and the run's folder."""
        self._link = link
        self._workdir = workdir
        self._parts = parts
        self._bill = steering.bill
        self._meter = self._meters(assign.assignment.gpus)
        redactor = parts.redactor()
        if assign.secrets:
            redactor = redactor.with_secrets(assign.secrets.values())
            for secret in assign.secrets.values():
                link.keep_secret(secret)  # for later runs of the process too, where there is room
        self._task = ChildTask(
            link,
            assign,
            limits=RunLimits(parts.load_timeout_s, assign.wished, assign.most, parts.clock.mono()),
            steering=steering,
            meter=self._meter,
            clock=parts.clock,
            redactor=redactor,
            output=f"{assign.workdir}.out",
            rules=parts.output,
            watch=parts.workdirs.watch(workdir),
        )

    async def to_outcome(self, judge: JudgeChild) -> Ran:
        """Run to the end; `judge` says what becomes of the child."""
        heard = self._task.heard
        try:
            await self._meter.start()
            return await self._run(judge)
        finally:
            self._meter.close()
            if heard.output.has_files:
                await to_the_end(heard.output.discard())

    def _meters(self, gpus: tuple[str, ...]) -> RunMeters:
        """Return what measures the run."""
        link, accounts = self._link, self._parts.gpus
        count = len(gpus) if accounts is None else accounts.count(gpus)
        before, link.baseline = link.baseline, None
        meter = Meter(
            link.pid, self._parts.clock, gpus=count, source=link.source, group=link.life.group, before=before
        )
        return RunMeters(meter, None if accounts is None else accounts.meter(link.pid, gpus))

    async def _run(self, judge: JudgeChild) -> Ran:
        task, link = self._task, self._link
        kills_before = self._parts.oom_kills()
        evidence = await task.to_end()
        link.runs += 1
        # The last sight of the peak of RAM, and of what the handler left behind.
        left = self._meter.look_last() if link.exit is None else None
        fate = await judge(evidence, left)
        if fate is Fate.KEEP:
            link.baseline = self._meter.baseline()
        if fate is Fate.END and link.exit is None:
            await link.end()
        task.finish_output()
        usage = await self._usage()
        self._bill.keep(usage)  # should the rest fail
        seen = evidence if fate is Fate.KEEP else task.evidence()
        if seen.ended is None:  # a receipt says more than what was killed around it
            seen = replace(seen, pool_oom_kills=increase(kills_before, self._parts.oom_kills()))
        return Ran(await self._outcome(seen, usage), fate)

    async def _usage(self) -> Usage:
        ended = self._link.exit
        if ended is None:
            return await self._meter.finish()
        if ended.rusage is None:
            self._meter.look_last()  # nobody saw its end, so that the look before it is not the last word
        return await self._meter.finish(ended.rusage, group_cpu_s=ended.group_cpu_s)

    async def _outcome(self, seen: Evidence, usage: Usage) -> Outcome:
        """Put together what is told of the run, and take its files."""
        heard = self._task.heard
        end = classify(seen)
        files: tuple[SpooledFile, ...] = ()
        if heard.artifacts or heard.output.is_used:
            files, end = await self._take_files(end, usage, has_ended=seen.ended is not None)
        if end.error is not None and seen.ended is None:
            end = End(end.code, end.value, with_last_lines(end.error, heard.output.tail.last()))
        outcome = outcome_of(end, usage, files, heard.output.tail.text(), heard.checkpoint)
        return await without_secrets(outcome, heard.redactor, self._task.told_bytes)

    async def _take_files(
        self, end: End, usage: Usage, *, has_ended: bool
    ) -> tuple[tuple[SpooledFile, ...], End]:
        """Take the files that the run handed over, where it came to its end, and those of its output."""
        heard = self._task.heard
        made = handed_over(heard.artifacts) if has_ended else ()
        if made or heard.output.has_files:  # which may take long; it is not written down, so not complete yet
            heard.emit(UsageEvent(replace(usage, complete=False)))
        printed = await heard.output.close(is_success=end.code is ResultCode.SUCCESS)
        run_id = self._task.assignment.run_id
        return await take_files(self._parts.spool, end, [*made, *printed], run_id, self._workdir)


def increase(before: int | None, after: int | None) -> int | None:
    """Return how much a count grew; None where it was not known."""
    return None if before is None or after is None else after - before


def outcome_of(
    end: End,
    usage: Usage | None = None,
    files: tuple[SpooledFile, ...] = (),
    log_tail: str = "",
    checkpoint: Any = None,
) -> Outcome:
    """Put an outcome together."""
    return Outcome(
        code=end.code,
        value=end.value,
        error=end.error,
        usage=usage or unmeasured(NOT_STARTED),
        files=files,
        log_tail=log_tail,
        checkpoint=checkpoint,
    )
