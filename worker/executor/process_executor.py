"""Run assignments in child processes: the executor of the agent and of `millhand run`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from msgspec.structs import replace

from worker.api.wire import ErrorKind, ResultCode
from worker.clock import Clock
from worker.executor.assignment import Assignment
from worker.executor.channel import ChannelError
from worker.executor.child_task import ChildTask
from worker.executor.children import Children
from worker.executor.deadlines import RunLimits
from worker.executor.ends import End, classify
from worker.executor.evidence import Evidence
from worker.executor.executor import EventSink, StopRequest, UsageEvent
from worker.executor.files import handed_over, take_files
from worker.executor.frames import Assign
from worker.executor.last_bill import LastBill
from worker.executor.lease import Lease
from worker.executor.limits import Limits
from worker.executor.link import ChildLink
from worker.executor.named_secrets import MissingSecret
from worker.executor.outcome import NOT_STARTED, Outcome, RunError, failed
from worker.executor.output import OutputRules
from worker.executor.reuse import Fate, Reuse
from worker.executor.shield import to_the_end
from worker.executor.spawn import Spawner
from worker.executor.steering import Steering
from worker.executor.task_limits import read_limits
from worker.executor.task_retry import read_retry
from worker.executor.telling import with_last_lines, without_secrets
from worker.executor.warm import ChildKey
from worker.executor.workdir import Workdirs
from worker.redaction import Redactor
from worker.sdk.cache_grant import CacheGrant
from worker.storage.file import SpooledFile
from worker.storage.spool import Spool
from worker.usage.gpu_meter import GpuAccounts, RunMeters
from worker.usage.meter import Meter
from worker.usage.source import source_of
from worker.usage.usage import Usage, unmeasured

__all__ = ["ProcessExecutor"]

LOAD_TIMEOUT_S: Final = 300.0  # a first import of a large framework from a cold network disk takes minutes
MAX_RUNS: Final = 1000  # of one child: bounds what a leaking handler can pile up
GROWTH_BYTES: Final = 1024**3  # the same for its memory
IDLE_S: Final = 600.0  # then what it holds, above all of a GPU, is free for others

log = structlog.get_logger(__name__)
ReadSecrets = Callable[[], dict[str, str]]


class HandlerTarget(Protocol):
    """What the executor must know of a handler; see `worker.executor.catalogue.HandlerEntry`."""

    @property
    def target(self) -> str:
        """``module:attribute`` or ``/path/file.py:attribute``."""
        ...


class Handlers(Protocol):
    """Where handlers are looked up; see `worker.executor.catalogue.Catalogue`."""

    def get(self, type_: str, /) -> HandlerTarget | None:
        """Return the handler of a type; None where there is none."""
        ...


class ProcessExecutor:
    """Warm child processes for handlers; see `worker.executor.executor.Executor` for the guarantees.

    Nothing starts before the first `execute`; `aclose` must be awaited at last.
    """

    def __init__(
        self,
        *,
        catalogue: Handlers,
        spawner: Spawner,
        clock: Clock,
        workdirs: Workdirs,
        spool: Spool,
        concurrency: int,
        limits: Limits | None = None,
        load_timeout_s: float = LOAD_TIMEOUT_S,
        max_runs: int = MAX_RUNS,
        growth_bytes: int = GROWTH_BYTES,
        idle_s: float = IDLE_S,
        redactor: Callable[[], Redactor] = Redactor,
        output: OutputRules | None = None,
        gpus: GpuAccounts | None = None,
        inputs: Callable[[str], CacheGrant | None] = lambda _: None,
        secrets: Callable[[str], ReadSecrets | None] = lambda _: None,
    ) -> None:
        """Take the parts.

        Args:
            catalogue: where handlers are looked up.
            spawner: starts child processes.
            clock: for durations.
            workdirs: the runs' folders; closed with the executor.
            spool: takes the runs' files.
            concurrency: how many idle children are kept at most.
            limits: the most that any run may take; its task's or handler's own limits may be nearer.
            load_timeout_s: limit for importing a handler and its setup.
            max_runs: a child is replaced after so many runs.
            growth_bytes: and when it has so much more private memory than after its first run.
            idle_s: a child without a run for so long is let go.
            redactor: asked at each run's start; takes the agent's own secrets out of what runs tell.
            output: what is kept of what runs print.
            gpus: measures those of runs; None: nobody does.
            inputs: says where runs of a type may keep inputs.
            secrets: returns what reads those that a type's handler asks for, at each run in a thread, and
                raises `MissingSecret`; None where it asks for none.
        """
        self._catalogue = catalogue
        self._spawner = spawner
        self._clock = clock
        self._workdirs = workdirs
        self._spool = spool
        self._limits = limits or Limits()
        self._secrets = secrets
        self._load_timeout_s = load_timeout_s
        self._redactor = redactor
        self._closing: asyncio.Task[None] | None = None
        self._output = output or OutputRules()
        self._gpus = gpus
        self._children = Children(
            spawner,
            keep=concurrency,
            reuse=Reuse(max_runs=max_runs, growth_bytes=growth_bytes),
            idle_s=idle_s,
            redact=lambda text: redactor().text(text),
            inputs=inputs,
        )

    async def execute(
        self, assignment: Assignment, stop: StopRequest, on_event: EventSink, lease: Lease | None = None
    ) -> Outcome:
        """Run one assignment to its end; see `worker.executor.executor.Executor`."""
        entry = self._catalogue.get(assignment.type)
        if entry is None:
            return failed(ErrorKind.INTERNAL, f"there is no handler for type {assignment.type!r} here")
        wished, problems = read_limits(assignment.parameters.get("limits"))
        problems += read_retry(assignment.parameters.get("retry"))[1]
        if problems:
            return failed(ErrorKind.INVALID_PARAMETERS, "; ".join(problems))
        try:
            read = self._secrets(assignment.type)
            secrets = {} if read is None else await asyncio.to_thread(read)
        except MissingSecret as exc:
            return failed(ErrorKind.INTERNAL, str(exc))
        key = ChildKey(assignment.type, entry.target, assignment.gpus)
        try:
            workdir = self._workdirs.make(assignment.run_id)
        except OSError as exc:
            return failed(ErrorKind.INTERNAL, f"the run's folder could not be made: {exc}")
        error: RunError | None = None
        bill = LastBill(on_event)
        try:
            assign = Assign(assignment, str(workdir), wished, self._limits, secrets)
            outcome = await self._run_in(key, assign, Steering(stop, bill, lease or Lease()), workdir)
            error = outcome.error
            return outcome
        except ChannelError as exc:
            return failed(ErrorKind.INVALID_PARAMETERS, f"the task cannot be handed to its handler: {exc}")
        except Exception as exc:  # a fault of ours must not leave the run without an end
            log.exception("run.executor_failed", run_id=assignment.run_id)
            text = self._redactor().text(f"the executor failed: {type(exc).__name__}: {exc}")
            return replace(failed(ErrorKind.INTERNAL, text), usage=bill.after_fault(text))
        finally:
            await self._workdirs.leave(workdir, assignment, error)

    def let_idle_go(self) -> None:
        """Let the children go that have no run; others have the memory that they hold."""
        self._children.let_idle_go()

    async def aclose(self) -> None:
        """End every child; may be called again, and goes on where a caller is cancelled."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="close-executor")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self._children.aclose()
        await self._spawner.aclose()
        await self._workdirs.aclose()

    async def _run_in(self, key: ChildKey, assign: Assign, steering: Steering, workdir: Path) -> Outcome:
        try:
            link = await self._children.get(key, assign)
        except OSError as exc:
            return outcome_of(classify(Evidence(spawn_error=str(exc))))
        try:
            outcome, fate = await self._watch(link, assign, steering, workdir)
        except BaseException:
            await to_the_end(link.end())
            raise
        self._children.settle(key, link, fate)
        return outcome

    async def _watch(
        self, link: ChildLink, assign: Assign, steering: Steering, workdir: Path
    ) -> tuple[Outcome, Fate]:
        """Run on a child; return the outcome, and what becomes of the child (ended already: END)."""
        assignment = assign.assignment
        meter = self._meter(link, assignment.gpus)
        for secret in assign.secrets.values():
            link.keep_secret(secret)  # for later runs of the process too, where there is room
        task = ChildTask(
            link,
            assign,
            limits=RunLimits(self._load_timeout_s, assign.wished, assign.most, self._clock.mono()),
            steering=steering,
            meter=meter,
            clock=self._clock,
            redactor=self._redactor().with_secrets(assign.secrets.values()),
            output=f"{assign.workdir}.out",
            rules=self._output,
            watch=self._workdirs.watch(workdir),
        )
        try:
            task.heard.emit(UsageEvent(await meter.start()))
            return await self._run_through(task, link, meter, workdir)
        finally:
            meter.close()
            if task.heard.output.has_files:
                await to_the_end(task.heard.output.discard())

    def _meter(self, link: ChildLink, gpus: tuple[str, ...]) -> RunMeters:
        """Return what measures a run."""
        count = len(gpus) if self._gpus is None else self._gpus.count(gpus)
        source = source_of(link.files)
        meter = Meter(link.pid, self._clock, gpus=count, source=source, group=link.life.group)
        return RunMeters(meter, None if self._gpus is None else self._gpus.meter(link.pid, gpus))

    async def _run_through(
        self, task: ChildTask, link: ChildLink, meter: RunMeters, workdir: Path
    ) -> tuple[Outcome, Fate]:
        kills_before = self._spawner.oom_kills()
        evidence = await task.to_end()
        link.runs += 1
        fate = self._children.fate(link, evidence, task.assignment.type)
        is_ended_by_us = fate is Fate.END and link.exit is None
        if is_ended_by_us:
            # The last sight of the peak of RAM, and of what the handler left behind.
            meter.sample(is_last=True)
            await link.end()
        task.finish_output()
        usage = await meter.finish(
            None if link.exit is None else link.exit.rusage,
            is_sampled=is_ended_by_us,
            group_cpu_s=None if link.exit is None else link.exit.group_cpu_s,
        )
        # Should the rest fail: it is not written down, so not complete yet.
        task.heard.emit(UsageEvent(replace(usage, complete=False)))
        kills = increase(kills_before, self._spawner.oom_kills())
        end = classify(replace(task.evidence(), pool_oom_kills=kills))
        made = handed_over(task.heard.artifacts) if task.evidence().ended is not None else ()
        printed = await task.heard.output.close(is_success=end.code is ResultCode.SUCCESS)
        files, end = await take_files(self._spool, end, [*made, *printed], task.assignment.run_id, workdir)
        if end.error is not None and task.evidence().ended is None:
            end = End(end.code, end.value, with_last_lines(end.error, task.heard.output.tail.last()))
        outcome = outcome_of(end, usage, files, task.heard.output.tail.text(), task.heard.checkpoint)
        return await without_secrets(outcome, task.heard.redactor, task.told_bytes), fate


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
