"""Run assignments in child processes: the executor of the agent and of `millhand run`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog
from msgspec.structs import replace

from worker.api.wire import ErrorKind
from worker.clock import Clock
from worker.executor.assignment import Assignment
from worker.executor.channel import ChannelError
from worker.executor.children import Children
from worker.executor.ends import classify
from worker.executor.evidence import Evidence
from worker.executor.executor import EventSink, StopRequest
from worker.executor.frames import Assign
from worker.executor.last_bill import LastBill
from worker.executor.lease import Lease
from worker.executor.limits import Limits
from worker.executor.named_secrets import MissingSecret
from worker.executor.one_run import OneRun, RunParts, outcome_of
from worker.executor.outcome import Outcome, RunError, failed
from worker.executor.output import OutputRules
from worker.executor.reuse import Fate, Reuse
from worker.executor.shield import to_the_end
from worker.executor.spawn import Spawner
from worker.executor.steering import Steering
from worker.executor.task_limits import read_limits
from worker.executor.task_retry import read_retry
from worker.executor.warm import ChildKey
from worker.executor.workdir import Workdirs
from worker.redaction import Redactor
from worker.sdk.cache_grant import CacheGrant
from worker.storage.spool import Spool
from worker.usage.gpu_meter import GpuAccounts

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
        self._workdirs = workdirs
        self._limits = limits or Limits()
        self._secrets = secrets
        self._redactor = redactor
        self._closing: asyncio.Task[None] | None = None
        self._parts = RunParts(
            clock=clock,
            workdirs=workdirs,
            spool=spool,
            oom_kills=spawner.oom_kills,
            load_timeout_s=load_timeout_s,
            redactor=redactor,
            output=output or OutputRules(),
            gpus=gpus,
        )
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
        is_clean = False
        bill = LastBill(on_event)
        try:
            assign = Assign(assignment, workdir, wished, self._limits, secrets)
            steering = Steering(stop, bill, lease or Lease())
            outcome, is_clean = await self._run_in(key, assign, steering, workdir)
            error = outcome.error
            return outcome
        except ChannelError as exc:
            return failed(ErrorKind.INVALID_PARAMETERS, f"the task cannot be handed to its handler: {exc}")
        except Exception as exc:  # a fault of ours must not leave the run without an end
            log.exception("run.executor_failed", run_id=assignment.run_id)
            text = self._redactor().text(f"the executor failed: {type(exc).__name__}: {exc}")
            return replace(failed(ErrorKind.INTERNAL, text), usage=bill.after_fault(text))
        finally:
            await self._workdirs.leave(workdir, assignment, error, is_clean=is_clean)

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

    async def _run_in(
        self, key: ChildKey, assign: Assign, steering: Steering, workdir: str
    ) -> tuple[Outcome, bool]:
        """Run on a child; return the outcome, and whether the child is kept: the run left nothing behind."""
        try:
            link = await self._children.get(key, assign)
        except OSError as exc:
            return outcome_of(classify(Evidence(spawn_error=str(exc)))), False
        try:
            run = OneRun(link, assign, steering, workdir, self._parts)
            ran = await run.to_outcome(lambda seen, left: self._children.fate(link, seen, left, key.type))
        except BaseException:
            await to_the_end(link.end())
            raise
        self._children.settle(key, link, ran.fate)
        return ran.outcome, ran.fate is Fate.KEEP
