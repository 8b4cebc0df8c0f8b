"""Run one handler here, without a server: what `millhand run` and tests of handlers do."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import structlog
from msgspec import Struct, structs

from worker.api.wire import ErrorKind, ResultCode
from worker.clock import Clock, SystemClock
from worker.executor.assignment import Assignment
from worker.executor.catalogue import Catalogue, HandlerEntry, SourceProblem, open_catalogue
from worker.executor.confinement import Confinement
from worker.executor.describer import Describer
from worker.executor.executor import EventSink, StopRequest
from worker.executor.life import Life
from worker.executor.limits import Limits
from worker.executor.named_secrets import NamedSecrets
from worker.executor.outcome import Outcome, RunError
from worker.executor.output import OutputRules
from worker.executor.process_executor import ProcessExecutor
from worker.executor.spawn import ProcessSpawner, Spawned
from worker.executor.workdir import Workdirs
from worker.redaction import Redactor
from worker.sdk.cache_grant import CacheGrant
from worker.storage.file import StoredFile, stored
from worker.storage.opening import open_store
from worker.storage.spool import Spool
from worker.storage.store import FileGone, Store, StoreError

__all__ = [
    "BrokenHandler",
    "LocalRun",
    "LocalRunner",
    "NoSuchHandler",
    "describer_for",
    "find_handler",
    "run_local",
]

SPOOL_BYTES: Final = 1 << 62  # one run at a time: what it makes is what is there

CLOSE_S: Final = 600.0  # for the run's folder: nobody comes later to remove what is left of it
log = structlog.get_logger()


class NoSuchHandler(Exception):  # noqa: N818 - what happened
    """There is no handler for what was asked; the message says what there is."""


class BrokenHandler(NoSuchHandler):
    """There is a handler, and it cannot run; `traceback` is its author's, if code of theirs ran."""

    def __init__(self, message: str, traceback: str | None) -> None:
        """Take why, and the traceback, which the text of the error shows too."""
        super().__init__(f"{message}\n{traceback}" if traceback else message)
        self.message = message
        self.traceback = traceback


class LocalRun(Struct, frozen=True):
    """How one run ended, and its files where they are stored."""

    id: str
    outcome: Outcome
    files: tuple[StoredFile, ...]


class KeepingSpawner(ProcessSpawner):
    """Keep the last child that was started: with one run at a time, the one that serves."""

    last: Life | None = None

    async def spawn(self, gpus: tuple[str, ...]) -> Spawned:
        """Start a child."""
        spawned = await super().spawn(gpus)
        self.last = spawned.life
        return spawned


class LocalRunner:
    """Runs one handler here, once or again and again; `aclose` must be awaited at last."""

    def __init__(
        self,
        entry: HandlerEntry,
        *,
        state_dir: Path,
        artifacts: str | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        environment: Mapping[str, str] | None = None,
        redactor: Callable[[], Redactor] = Redactor,
        tells_steps: bool = False,
        inputs: Callable[[str], CacheGrant | None] = lambda _: None,
        secrets: Callable[[], NamedSecrets] = NamedSecrets,
    ) -> None:
        """Take the parts; nothing starts before the first run.

        Args:
            entry: what to run; see `find_handler`.
            state_dir: where the runs' folders and artifacts go.
            artifacts: a folder or URL instead of ``<state_dir>/artifacts``.
            limits: of time and memory.
            clock: the machine's by default.
            environment: of which the handler's process sees an allow-list; ours by default.
            redactor: takes secrets out of what runs tell.
            tells_steps: whether a run's start is an event too.
            inputs: says where runs of a type may keep inputs.
            secrets: says where those are that the handler asks for by name; asked at each run.
        """
        self._type = entry.type
        self._spool = Spool(state_dir / "spool", SPOOL_BYTES)
        self._artifacts = artifacts or state_dir / "artifacts"
        self._spawner = KeepingSpawner(environment, wish=Confinement().wish())
        self._executor = ProcessExecutor(
            catalogue=Catalogue(entries={entry.type: entry}),
            spawner=self._spawner,
            clock=clock or SystemClock(),
            workdirs=Workdirs(state_dir / "runs", close_s=CLOSE_S),
            spool=self._spool,
            concurrency=1,
            limits=limits,
            redactor=redactor,
            output=OutputRules(keep="none", tells_steps=tells_steps),  # a person sees it
            inputs=inputs,
            secrets=lambda _: (lambda: secrets().read(entry.secrets)) if entry.secrets else None,
        )

    async def run(
        self,
        parameters: Mapping[str, Any],
        on_event: EventSink,
        *,
        stop: StopRequest | None = None,
        resume: Any = None,
        attempt: int = 1,
        gpus: tuple[str, ...] = (),
    ) -> LocalRun:
        """Run it once; a warm process of an earlier run is used again, as an agent would. One at a time."""
        assignment = Assignment(
            run_id=str(uuid4()),
            task_id=str(uuid4()),
            type=self._type,
            parameters=dict(parameters),
            attempt=attempt,
            resume=resume,
            gpus=gpus,
        )
        outcome = await self._executor.execute(assignment, stop or StopRequest(), on_event)
        outcome, files = await stored_at_once(
            open_store(self._artifacts), self._spool, assignment.run_id, outcome
        )
        return LocalRun(assignment.run_id, outcome, files)

    def kill(self) -> None:
        """Send SIGKILL to the handler's process, as the kernel does for want of memory."""
        if self._spawner.last is not None and not self._spawner.last.is_dead:
            self._spawner.last.signal(signal.SIGKILL)

    async def aclose(self) -> None:
        """End its process."""
        await self._executor.aclose()


async def run_local(
    type_or_file: str,
    parameters: Mapping[str, Any],
    on_event: EventSink,
    *,
    state_dir: Path,
    handlers: tuple[str, ...] = (),
    stop: StopRequest | None = None,
    artifacts: str | None = None,
    limits: Limits | None = None,
    gpus: tuple[str, ...] = (),
    clock: Clock | None = None,
) -> tuple[Outcome, tuple[StoredFile, ...]]:
    """Run one task by its type, or by a ``.py`` file (``file.py:type`` where it has several), once.

    Args:
        type_or_file: what to run.
        parameters: the task's parameters.
        on_event: takes progress, lines of the log and usage.
        state_dir: where the run's folder, its artifacts and the cache go.
        handlers: modules, files and folders beside what is installed.
        stop: to stop it.
        artifacts: a folder or URL instead of ``<state_dir>/artifacts``.
        limits: of time and memory.
        gpus: UUIDs of the GPUs that it may use.
        clock: the machine's by default.

    Returns:
        How it ended, and its files where they are stored.

    Raises:
        NoSuchHandler: there is none; the message says what there is.
    """
    entry = await find_handler(type_or_file, handlers, describer_for(state_dir))
    runner = LocalRunner(entry, state_dir=state_dir, artifacts=artifacts, limits=limits, clock=clock)
    try:
        run = await runner.run(parameters, on_event, stop=stop, gpus=gpus)
        return run.outcome, run.files
    finally:
        await runner.aclose()


def describer_for(state_dir: Path, environment: Mapping[str, str] | None = None) -> Describer:
    """Return what describes handlers, with a cache in this folder."""
    return Describer(state_dir / "cache", environment=environment, wish=Confinement().wish())


async def stored_at_once(
    store: Store, spool: Spool, run_id: str, outcome: Outcome
) -> tuple[Outcome, tuple[StoredFile, ...]]:
    """Store a run's files, once: there is a person who sees it, and no journal to go on from."""
    try:
        for file in outcome.files:
            await store.store(run_id, file, spool.path_of(file))
    except (StoreError, FileGone) as exc:
        error = RunError(kind=ErrorKind.INTERNAL, message=str(exc), retryable=True)
        failed = structs.replace(outcome, code=ResultCode.FAILED, error=outcome.error or error)
        return failed, ()
    finally:
        try:
            await spool.remove(run_id)
        except OSError as exc:  # no reason to lose what the run brought
            log.warning("spool.not_removed", run_id=run_id, error=str(exc))
        await store.aclose()
    return outcome, tuple(stored(file, store.url_of(run_id, file.name)) for file in outcome.files)


async def find_handler(type_or_file: str, handlers: tuple[str, ...], describer: Describer) -> HandlerEntry:
    """Return the handler of a type, or the one of a file.

    Raises:
        NoSuchHandler: there is none, or a file has several and none is named.
    """
    path, wanted = split_file(type_or_file)
    if path is None:
        catalogue = await open_catalogue(handlers, describer)
        return entry_for(catalogue, type_or_file)
    catalogue = await open_catalogue((path,), describer, installed=())
    if wanted is None and len(catalogue.entries) == 1:
        wanted = next(iter(catalogue.entries))
    if wanted is None and len(catalogue.entries) > 1:
        choices = ", ".join(f"{path}:{name}" for name in sorted(catalogue.entries))
        raise NoSuchHandler(f"{path} has several handlers; name one: {choices}")
    return entry_for(catalogue, wanted or path)


def split_file(type_or_file: str) -> tuple[str | None, str | None]:
    """Return the path and the type of ``file.py:type``; (None, None) for a type."""
    path, _, wanted = type_or_file.partition(".py:")
    if wanted:
        return f"{path}.py", wanted
    return (type_or_file, None) if type_or_file.endswith(".py") else (None, None)


def entry_for(catalogue: Catalogue, type_: str) -> HandlerEntry:
    """Return a handler, or say why there is none."""
    entry = catalogue.entries.get(type_)
    if entry is not None and entry.problem is None:
        return entry
    if entry is not None:
        raise BrokenHandler(f"the handler of {type_!r} cannot run here: {entry.problem}", entry.traceback)
    for problem in catalogue.problems:
        raise broken(problem)
    known = ", ".join(catalogue.types) or "none"
    raise NoSuchHandler(f"there is no handler for {type_!r}; there are: {known}")


def broken(problem: SourceProblem) -> NoSuchHandler:
    """Return the error of a source that offers nothing: code that fails, or a file that is none."""
    if problem.traceback is None:
        return NoSuchHandler(problem.message)
    return BrokenHandler(problem.message, problem.traceback)
