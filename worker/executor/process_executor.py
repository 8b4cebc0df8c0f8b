"""Run assignments in child processes: the executor of the agent and of `millhand run`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from worker.api.wire import ErrorKind, ResultCode
from worker.clock import Clock
from worker.executor.artifacts import ArtifactStore, StorageError, store_all
from worker.executor.assignment import Assignment
from worker.executor.channel import ChannelError
from worker.executor.child_task import ChildTask
from worker.executor.deadlines import RunLimits
from worker.executor.ends import End, classify
from worker.executor.evidence import Evidence
from worker.executor.executor import EventSink, StopRequest
from worker.executor.frames import Assign, Load, Up
from worker.executor.link import ChildLink
from worker.executor.outcome import Artifact, Outcome, RunError
from worker.executor.shield import to_the_end
from worker.executor.spawn import Spawner
from worker.executor.warm import ChildKey, WarmChildren
from worker.executor.workdir import is_removed, make_workdir, remove_workdir
from worker.minder.trees import has_descendants
from worker.usage.meter import Meter
from worker.usage.rusage import Rusage
from worker.usage.usage import Usage

__all__ = ["ProcessExecutor"]

LOAD_TIMEOUT_S: Final = 300.0  # a first import of a large framework from a cold network disk takes minutes
MAX_RUNS: Final = 1000  # of one child: bounds what a leaking handler can pile up

log = structlog.get_logger(__name__)


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
        workdir_root: Path,
        artifacts: ArtifactStore,
        concurrency: int,
        timeout_s: float | None = None,
        load_timeout_s: float = LOAD_TIMEOUT_S,
        max_runs: int = MAX_RUNS,
        redact: Callable[[str], str] = str,
    ) -> None:
        """Take the parts.

        Args:
            catalogue: where handlers are looked up.
            spawner: starts child processes.
            clock: for durations.
            workdir_root: folder of the runs' folders.
            artifacts: where the runs' files go.
            concurrency: how many idle children are kept at most.
            timeout_s: agent-wide wall limit of a run; a handler's own limit may be nearer.
            load_timeout_s: limit for importing a handler.
            max_runs: a child is replaced after so many runs.
            redact: removes secrets from lines of the log.
        """
        self._catalogue = catalogue
        self._spawner = spawner
        self._clock = clock
        self._workdir_root = workdir_root.absolute()
        self._artifacts = artifacts
        self._timeout_s = timeout_s
        self._load_timeout_s = load_timeout_s
        self._max_runs = max_runs
        self._redact = redact
        self._warm = WarmChildren(concurrency)
        self._leaving: set[asyncio.Task[None]] = set()

    async def execute(self, assignment: Assignment, stop: StopRequest, on_event: EventSink) -> Outcome:
        """Run one assignment to its end; see `worker.executor.executor.Executor`."""
        entry = self._catalogue.get(assignment.type)
        if entry is None:
            return failed(ErrorKind.INTERNAL, f"there is no handler for type {assignment.type!r} here")
        key = ChildKey(assignment.type, entry.target, assignment.gpus)
        try:
            workdir = make_workdir(self._workdir_root, assignment.run_id)
        except OSError as exc:
            return failed(ErrorKind.INTERNAL, f"the run's folder could not be made: {exc}")
        try:
            return await self._run_in(workdir, key, assignment, stop, on_event)
        except ChannelError as exc:
            return failed(ErrorKind.INVALID_PARAMETERS, f"the task cannot be handed to its handler: {exc}")
        except Exception as exc:  # a fault of ours must not leave the run without an end
            log.exception("run.executor_failed", run_id=assignment.run_id)
            return failed(ErrorKind.INTERNAL, f"the executor failed: {type(exc).__name__}: {exc}")
        finally:
            if not is_removed(workdir):
                await to_the_end(remove_workdir(workdir))

    async def aclose(self) -> None:
        """End every child."""
        for link in self._warm.take_all():
            self._let_go(link)
        while self._leaving:
            await asyncio.wait(self._leaving)
        await self._spawner.aclose()

    async def _run_in(
        self, workdir: Path, key: ChildKey, assignment: Assignment, stop: StopRequest, on_event: EventSink
    ) -> Outcome:
        try:
            link = await self._child(key)
        except OSError as exc:
            return outcome_of(classify(Evidence(spawn_error=str(exc))))
        try:
            outcome, is_reusable = await self._watch(link, workdir, assignment, stop, on_event)
        except BaseException:
            await to_the_end(link.end())
            raise
        if is_reusable:
            self._keep(key, link)
        return outcome

    async def _child(self, key: ChildKey) -> ChildLink:
        """Return a warm child, or a new one that imports its handler now."""
        found, useless = self._warm.take(key)
        for link in useless:
            self._let_go(link)
        if found is not None:
            return found
        link = ChildLink(await self._spawner.spawn(key.gpus))
        link.open()
        link.send(Load(key.type, key.target, link.life.minder_pid))
        return link

    async def _watch(
        self,
        link: ChildLink,
        workdir: Path,
        assignment: Assignment,
        stop: StopRequest,
        on_event: EventSink,
    ) -> tuple[Outcome, bool]:
        """Run on a child; return the outcome, and whether the child may serve again."""
        meter = Meter(link.pid, self._clock, gpus=len(assignment.gpus))
        meter.start()
        task = ChildTask(
            link,
            Assign(assignment, str(workdir), self._timeout_s),
            limits=RunLimits(self._load_timeout_s, self._timeout_s, self._clock.mono()),
            stop=stop,
            on_event=on_event,
            meter=meter,
            clock=self._clock,
            redact=self._redact,
        )
        evidence = await task.to_end()
        link.runs += 1
        is_reusable = self._is_reusable(link, evidence)
        is_ended_by_us = not is_reusable and link.exit is None
        if is_ended_by_us:
            meter.sample()  # the last sight of the peak of RAM, and of processes that the handler left behind
            await link.end()
        task.finish_output()
        usage = meter.finish(rusage_of(link), is_sampled=is_ended_by_us)
        end = classify(task.evidence())
        stored, end = await self._stored(end, task, assignment.run_id, workdir)
        return outcome_of(end, usage, stored, task.tail.text(), task.checkpoint), is_reusable

    def _is_reusable(self, link: ChildLink, seen: Evidence) -> bool:
        """Tell whether a child is as good as new: nothing odd was seen, and nothing is left below it."""
        return (
            seen.ended is not None
            and seen.stop is None
            and seen.channel_error is None
            and not link.is_dead
            and not link.is_closed_by_child
            and link.ready is not None
            and link.ready.isolation == "warm"
            and link.runs < self._max_runs
            and not has_descendants(link.pid)
            and not self._spawner.has_strangers()
        )

    async def _stored(
        self, end: End, task: ChildTask, run_id: str, workdir: Path
    ) -> tuple[tuple[Artifact, ...], End]:
        """Store the files of a handler that came to its own end."""
        if not task.artifacts or task.evidence().ended is None:
            return (), end
        try:
            return await store_all(self._artifacts, run_id, task.artifacts, workdir), end
        except StorageError as exc:
            if end.error is not None:
                return (), end
            error = RunError(kind=ErrorKind.INTERNAL, message=str(exc), retryable=True)
            return (), End(ResultCode.FAILED, end.value, error)

    def _keep(self, key: ChildKey, link: ChildLink) -> None:
        link.listener = Idle(lambda: self._on_idle_change(link))
        for gone in self._warm.put(key, link):
            self._let_go(gone)

    def _on_idle_change(self, link: ChildLink) -> None:
        """Reap a child that ended while it was idle."""
        if self._warm.remove(link):
            self._let_go(link)

    def _let_go(self, link: ChildLink) -> None:
        """End an idle child in the background; `aclose` waits for it."""
        task = asyncio.create_task(link.leave(), name=f"leave-child-{link.pid}")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


class Idle:
    """Hears a child that has no run; what it says then is nobody's."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    def on_frame(self, frame: Up) -> None:
        """Forget it."""

    def on_output(self, stream: str, data: bytes) -> None:
        """Forget it."""

    def on_change(self) -> None:
        """Pass it on."""
        self._on_change()


def rusage_of(link: ChildLink) -> Rusage | None:
    """Return what wait4 said; None where the child lives on."""
    return None if link.exit is None else link.exit.rusage


def outcome_of(
    end: End,
    usage: Usage | None = None,
    artifacts: tuple[Artifact, ...] = (),
    log_tail: str = "",
    checkpoint: Any = None,
) -> Outcome:
    """Put an outcome together."""
    return Outcome(
        code=end.code,
        value=end.value,
        error=end.error,
        usage=usage or Usage(),
        artifacts=artifacts,
        log_tail=log_tail,
        checkpoint=checkpoint,
    )


def failed(kind: ErrorKind, message: str) -> Outcome:
    """Return the outcome of a run that never started."""
    return Outcome(code=ResultCode.FAILED, error=RunError(kind=kind, message=message, retryable=True))
