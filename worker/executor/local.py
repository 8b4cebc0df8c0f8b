"""Run one handler here, without a server: what `millhand run` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from msgspec import structs

from worker.api.wire import ErrorKind, ResultCode
from worker.clock import Clock, SystemClock
from worker.executor.assignment import Assignment
from worker.executor.catalogue import Catalogue, HandlerEntry, open_catalogue
from worker.executor.confinement import Confinement
from worker.executor.describer import Describer
from worker.executor.executor import EventSink, StopRequest
from worker.executor.limits import Limits
from worker.executor.outcome import Outcome, RunError
from worker.executor.output import OutputRules
from worker.executor.process_executor import ProcessExecutor
from worker.executor.spawn import ProcessSpawner
from worker.executor.workdir import Workdirs
from worker.storage.file import StoredFile, stored
from worker.storage.opening import open_store
from worker.storage.spool import Spool
from worker.storage.store import FileGone, Store, StoreError

__all__ = ["NoSuchHandler", "find_handler", "run_local"]

SPOOL_BYTES: Final = 1 << 62  # one run at a time: what it makes is what is there

CLOSE_S: Final = 600.0  # for the run's folder: nobody comes later to remove what is left of it


class NoSuchHandler(Exception):  # noqa: N818 - what happened
    """There is no handler for what was asked; the message says what there is."""


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
    """Run one task by its type, or by a ``.py`` file (``file.py:type`` where it has several).

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
    entry = await find_handler(
        type_or_file, handlers, Describer(state_dir / "cache", wish=Confinement().wish())
    )
    spool = Spool(state_dir / "spool", SPOOL_BYTES)
    executor = ProcessExecutor(
        catalogue=Catalogue(entries={entry.type: entry}),
        spawner=ProcessSpawner(wish=Confinement().wish()),
        clock=clock or SystemClock(),
        workdirs=Workdirs(state_dir / "runs", close_s=CLOSE_S),
        spool=spool,
        concurrency=1,
        limits=limits,
        output=OutputRules(keep="none"),  # a person sees it
    )
    ids = [str(uuid4()), str(uuid4())]
    assignment = Assignment(
        run_id=ids[0], task_id=ids[1], type=entry.type, parameters=dict(parameters), gpus=gpus
    )
    try:
        outcome = await executor.execute(assignment, stop or StopRequest(), on_event)
        return await stored_at_once(open_store(artifacts or state_dir / "artifacts"), spool, ids[0], outcome)
    finally:
        await executor.aclose()


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
        await spool.remove(run_id)
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
        raise NoSuchHandler(
            f"the handler of {type_!r} cannot run here: {entry.problem}{below(entry.traceback)}"
        )
    for problem in catalogue.problems:
        raise NoSuchHandler(f"{problem.message}{below(problem.traceback)}")
    known = ", ".join(catalogue.types) or "none"
    raise NoSuchHandler(f"there is no handler for {type_!r}; there are: {known}")


def below(traceback: str | None) -> str:
    """Return a traceback to stand below a message."""
    return f"\n{traceback}" if traceback else ""
