"""Run a handler in a real child process, as an agent does, and keep all that it tells."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

import structlog

from worker.api.wire import ErrorKind
from worker.executor.executor import (
    CheckpointEvent,
    Event,
    LogEvent,
    ProgressEvent,
    StartedEvent,
    StopRequest,
)
from worker.executor.growth import private_bytes
from worker.executor.limits import Limits
from worker.executor.linux import unfit_reason
from worker.executor.local import LocalRun, LocalRunner, describer_for, find_handler
from worker.executor.named_secrets import NamedSecrets
from worker.executor.outcome import RunError
from worker.redaction import Redactor
from worker.sdk.calling import new_runner
from worker.testing.origin import Handler, child_variables, entry_of
from worker.usage.usage import Usage

__all__ = ["ChildRun", "ChildRunner", "Moment"]

TIMEOUT_S: Final = 300.0  # of one run: a test must end, and a slow machine be waited for
GRACE_S: Final = 10.0

Moment = Literal["start", "telling", "progress", "checkpoint"]  # telling: a progress, a line or a checkpoint
EVENTS: Final[Mapping[str, tuple[type[Any], ...]]] = {
    "start": (StartedEvent,),
    "telling": (ProgressEvent, LogEvent, CheckpointEvent),
    "progress": (ProgressEvent,),
    "checkpoint": (CheckpointEvent,),
}


@dataclass
class ChildRun:
    """One run in a child process: how it ended, and what it told.

    Attributes:
        value: what the handler returned, as a task's results have it.
        error: why it failed; None where it succeeded.
        progress: ratios and messages, at most ten a second and the last one.
        lines: what it logged and printed: ``log``, ``stdout`` or ``stderr``, and the line.
        artifacts: the files that it made, by name.
        sha256: of each of them, by name, in hex.
        checkpoint: the last one, or None.
        usage: what it consumed.
        run_id: its own, which names the folder of its artifacts.
        pid: of its process; None where it did not start.
        stopped_s: how long it went on after it was asked to stop; None where it was not.
        memory_bytes: private memory of its process afterwards; None where that is gone.
    """

    value: dict[str, Any] = field(default_factory=dict)
    error: RunError | None = None
    progress: list[tuple[float, str | None]] = field(default_factory=list)
    lines: list[tuple[str, str]] = field(default_factory=list)
    artifacts: dict[str, Path] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    checkpoint: Any = None
    usage: Usage = field(default_factory=Usage)
    run_id: str | None = None
    pid: int | None = None
    stopped_s: float | None = None
    memory_bytes: int | None = None

    @property
    def kind(self) -> str | None:
        """The kind of the error, as ``handler_error``, ``cancelled`` or ``crashed``; None for a success."""
        return None if self.error is None else str(self.error.kind)

    @property
    def text(self) -> str:
        """What people see of its error; "" for a success."""
        if self.error is None:
            return ""
        trace = self.error.traceback
        return self.error.text() + (f"\n{trace}" if trace else "")


class ChildRunner:
    """Runs one handler in child processes, one run at a time; a warm process serves one after another.

    Use it in a ``with`` block, not inside of a running event loop. At its end no process is left.
    """

    def __init__(
        self,
        handler: Handler,
        folder: Path,
        *,
        timeout_s: float = TIMEOUT_S,
        redactor: Callable[[], Redactor] = Redactor,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """Take the parts; nothing starts before the first run.

        Args:
            handler: a decorated function; or what `millhand run` takes: a type, or ``file.py[:type]``.
            folder: an existing folder for runs and artifacts, as pytest's ``tmp_path``.
            timeout_s: the most that a run may take.
            redactor: takes secrets out of what runs tell.
            secrets: those that the handler asks for by name.

        Raises:
            RuntimeError: this system cannot run handlers in child processes, as macOS cannot.
        """
        if reason := unfit_reason():
            raise RuntimeError(f"{reason}; worker.testing.call_handler runs them in this process")
        self._handler = handler
        self._folder = folder
        self._limits = Limits(timeout_s=timeout_s)
        self._redactor = redactor
        self._secrets = NamedSecrets(None, secrets)
        self._loop = new_runner()
        self._runner: LocalRunner | None = None

    def __enter__(self) -> ChildRunner:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the handler's process."""
        self.close()

    def close(self) -> None:
        """End the handler's process; called again, it does nothing."""
        if self._runner is not None:
            with quiet():
                self._loop.run(self._close_runner())
        self._loop.close()

    def run(
        self,
        parameters: Mapping[str, Any] | None = None,
        *,
        resume: Any = None,
        attempt: int = 1,
        cancel_at: Moment | None = None,
        kill_at: Moment | None = None,
        grace_s: float = GRACE_S,
        secrets: Mapping[str, str] | None = None,
    ) -> ChildRun:
        """Run it once; every failure is a part of what is returned.

        Args:
            parameters: the task's.
            resume: the checkpoint that it goes on from.
            attempt: which attempt it is, from 1.
            cancel_at: ask it to stop at the first such moment: "start", "telling" (it told anything),
                "progress" or "checkpoint".
            kill_at: send SIGKILL to its process at the first such moment.
            grace_s: how long it may go on once it is asked to stop.
            secrets: those that it asks for by name, from this run on.
        """
        if secrets is not None:
            self._secrets = NamedSecrets(None, secrets)
        with quiet():
            return self._loop.run(
                self._run(dict(parameters or {}), resume, attempt, Steps(cancel_at, kill_at, grace_s))
            )

    def remove_artifacts(self, run: ChildRun) -> None:
        """Remove the files that a run made; a run that made none is left as it is."""
        if run.run_id is not None and run.artifacts:
            shutil.rmtree(self._folder / "artifacts" / run.run_id)

    async def _run(self, parameters: dict[str, Any], resume: Any, attempt: int, steps: Steps) -> ChildRun:
        runner = self._runner = self._runner or await self._open()
        told, stop = ChildRun(), StopRequest()
        loop = asyncio.get_running_loop()
        asked_at: list[float] = []
        is_killed = False
        stop.listen(lambda: asked_at.append(loop.time()))

        def on_event(event: Event) -> None:
            nonlocal is_killed
            note(told, event)
            if steps.is_due(steps.cancel_at, event):
                stop.request(ErrorKind.CANCELLED, "asked by the test", steps.grace_s)
            if steps.is_due(steps.kill_at, event):
                is_killed = True
                runner.kill()

        run = await runner.run(parameters, on_event, stop=stop, resume=resume, attempt=attempt)
        if asked_at:
            told.stopped_s = loop.time() - asked_at[0]
        if told.pid is not None:
            told.memory_bytes = private_bytes(told.pid)
        if is_killed:  # perhaps after its receipt: a process that is about to die must not serve the next run
            await self._close_runner()
        return with_end(told, run)

    async def _close_runner(self) -> None:
        if self._runner is not None:
            await self._runner.aclose()
            self._runner = None

    async def _open(self) -> LocalRunner:
        environment = child_variables()
        if isinstance(self._handler, str):
            entry = await find_handler(self._handler, (), describer_for(self._folder, environment))
        else:
            entry = entry_of(self._handler)
        return LocalRunner(
            entry,
            state_dir=self._folder,
            limits=self._limits,
            environment=environment,
            redactor=self._redactor,
            tells_steps=True,
            secrets=lambda: self._secrets,
        )


@dataclass(frozen=True)
class Steps:
    """What is done to a run, and when."""

    cancel_at: Moment | None
    kill_at: Moment | None
    grace_s: float

    def is_due(self, moment: Moment | None, event: Event) -> bool:
        """Tell whether an event is such a moment; later ones do no harm."""
        return moment is not None and isinstance(event, EVENTS[moment])


@contextmanager
def quiet() -> Iterator[None]:
    """Log warnings only, whatever is configured: each line of a run is in what is returned."""
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        yield
    finally:
        if before is None:
            structlog.reset_defaults()
        else:
            structlog.configure(**before)


def note(told: ChildRun, event: Event) -> None:
    """Keep what an event tells."""
    match event:
        case StartedEvent():
            told.pid = event.pid
        case ProgressEvent():
            told.progress.append((event.ratio, event.message))
        case LogEvent():
            told.lines.append((event.stream, event.line))
        case CheckpointEvent():
            told.checkpoint = event.value


def with_end(told: ChildRun, run: LocalRun) -> ChildRun:
    """Return a run with how it ended."""
    outcome = run.outcome
    told.run_id = run.id
    told.value, told.error, told.usage = outcome.value, outcome.error, outcome.usage
    if outcome.checkpoint is not None:
        told.checkpoint = outcome.checkpoint
    told.artifacts = {file.name: Path(unquote(urlsplit(file.url).path)) for file in run.files}
    told.sha256 = {file.name: file.sha256 for file in run.files}
    return told
