"""One local run as `millhand run` makes it: resumed, cancelled or killed as the command line says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from worker.api.wire import ErrorKind
from worker.cli import paths
from worker.cli.exits import CliError, ExitCode
from worker.cli.interruption import GRACE_S
from worker.cli.judging import judged, verdict_on
from worker.cli.last_runs import LastRun, LastRuns, NothingToResume, Resumed, read_checkpoint
from worker.cli.trail import STATE_TODO, Trail
from worker.executor.executor import (
    Event,
    EventSink,
    LogEvent,
    StartedEvent,
    StopRequest,
)
from worker.executor.limits import Limits
from worker.executor.local import LocalRun, LocalRunner, describer_for, find_handler
from worker.executor.named_secrets import NamedSecrets

if TYPE_CHECKING:
    from worker.agent.input_cache import Grants
    from worker.executor.retries import Verdict
    from worker.usage.usage import Usage

__all__ = ["Plan", "Ran", "run_here"]


class Plan(Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    what: str
    parameters: dict[str, Any]
    handlers: tuple[str, ...] = ()
    limits: Limits
    cancel_after_s: float | None = None  # both count from the handler's start
    kill_after_s: float | None = None
    resume: str | None = None  # None: from the start; "": from the last run here; else a JSON file
    is_resume_needed: bool = (
        True  # whether it is wrong that the last run here left nothing; else it starts anew
    )
    target: Path | None = None  # where the run's files are copied to
    secrets: NamedSecrets | None = None  # where those are that the handler asks for by name
    input_cache: Path | None = None  # where inputs are kept between runs
    input_cache_bytes: int = 0  # of them


class Ran(Struct, frozen=True, kw_only=True):
    """One run that has ended."""

    type: str
    run: LocalRun
    attempt: int
    resumed: Resumed | None
    folder: Path | None  # of its artifacts, where there are some
    is_killed: bool  # by --kill-after
    stopped_s: float | None  # how long it went on after it was asked to stop
    retry: Verdict | None  # what an agent would do next, where it failed
    missed: str | None  # what --cancel-after or --kill-after came too late for
    reported: Usage | None  # what was told of its bill on the way: all that is left where a machine is lost
    faults: tuple[CliError, ...]  # what went wrong beside it, to be shown behind it


class HardPath:
    """Cancels or kills one run at the time that was asked for."""

    def __init__(self, plan: Plan, stop: StopRequest, runner: LocalRunner, on_event: EventSink) -> None:
        """Prepare; the times count from `start`. What is done is told as a line of the log."""
        self.stop = stop
        self.is_killed = False
        self.missed: str | None = None  # what the run was too quick for
        self.stopped_s: float | None = None  # how long it went on after it was asked to stop
        self._asked_at: float | None = None  # by the loop's time, as all that follows
        self._plan = plan
        self._runner = runner
        self._on_event = on_event
        self._due: list[tuple[str, asyncio.TimerHandle]] = []
        stop.listen(self._note_stop)

    def start(self) -> None:
        """Begin to count."""
        loop = asyncio.get_running_loop()
        steps = (("--cancel-after", self._plan.cancel_after_s, self._cancel),
                 ("--kill-after", self._plan.kill_after_s, self._kill))  # fmt: skip
        for name, after_s, act in steps:
            if after_s is not None:
                self._due.append((f"{name} {after_s:g}s", loop.call_later(after_s, act)))

    def end(self) -> None:
        """Stop counting; called again, it does nothing."""
        now = asyncio.get_running_loop().time()
        if self._asked_at is not None and self.stopped_s is None:
            self.stopped_s = now - self._asked_at
        if missed := [name for name, handle in self._due if handle.when() > now]:
            self.missed = ", ".join(missed)
        for _, handle in self._due:
            handle.cancel()
        self._due = []

    def _note_stop(self) -> None:
        self._asked_at = asyncio.get_running_loop().time()

    def _cancel(self) -> None:
        self._on_event(LogEvent("millhand", "cancelling it now, as --cancel-after says"))
        self.stop.request(
            ErrorKind.CANCELLED, f"--cancel-after {self._plan.cancel_after_s:g}s", grace_s=GRACE_S
        )

    def _kill(self) -> None:
        self._on_event(LogEvent("millhand", "killing its process now, as --kill-after says"))
        self.is_killed = True
        self._runner.kill()


async def run_here(plan: Plan, stop: StopRequest, on_event: EventSink) -> Ran:
    """Run a handler once, and keep its checkpoint for a later `--resume`.

    What goes wrong once it has ended is a part of what is returned: nothing of the run is lost.

    Raises:
        NoSuchHandler: there is none.
        CliError: there is nothing to resume from, or the state folder cannot be written.
    """
    state_dir = paths.state_home() / "run"
    environment = fresh_environment()
    try:
        entry = await find_handler(plan.what, plan.handlers, describer_for(state_dir, environment))
        last_runs = LastRuns(state_dir / "checkpoints")
        resumed = resumed_from(plan, last_runs, entry.target, entry.type)
        runner = LocalRunner(
            entry,
            state_dir=state_dir,
            limits=plan.limits,
            environment=environment,
            tells_steps=True,
            inputs=inputs_of(plan),
            secrets=lambda: plan.secrets or NamedSecrets(),
        )
        last = LastRun(handler=entry.target, type=entry.type, at=datetime.now(UTC))
        if resumed is None and plan.resume is not None:
            on_event(LogEvent("millhand", "there is nothing to resume from: it starts anew"))
        elif resumed is not None:
            last = replace(last, attempt=resumed.attempt, checkpoint=resumed.checkpoint)
        path, trail = HardPath(plan, stop, runner, on_event), Trail(last_runs, last)
        closing: CliError | None = None
        try:
            run = await run_watched(runner, plan, path, trail, on_event)
        finally:
            path.end()
            closing = await fault_of_closing(runner)
    except OSError as exc:
        raise CliError(f"{exc}", STATE_TODO, code=ExitCode.CONFIGURATION) from exc
    verdict = verdict_on(run, entry, plan.parameters, last.attempt)
    run = judged(trail.close(run), verdict)
    return Ran(
        type=entry.type,
        run=run,
        attempt=last.attempt,
        resumed=resumed,
        folder=state_dir / "artifacts" / run.id if run.files else None,
        is_killed=path.is_killed,
        stopped_s=path.stopped_s,
        retry=verdict,
        missed=path.missed,
        reported=trail.reported,
        faults=tuple(fault for fault in (closing, trail.fault) if fault is not None),
    )


def inputs_of(plan: Plan) -> Grants:
    """Return where runs may keep inputs; raises CliError where they cannot."""
    from worker.agent.input_cache import open_input_cache

    try:
        return open_input_cache(plan.input_cache, plan.input_cache_bytes)
    except ValueError as exc:
        raise CliError(str(exc), "check --input-cache", code=ExitCode.CONFIGURATION) from exc


async def fault_of_closing(runner: LocalRunner) -> CliError | None:
    """End the handler's process; return what went wrong."""
    try:
        await runner.aclose()
    except OSError as exc:
        return CliError(
            f"the handler's process could not be ended as it should: {exc}",
            STATE_TODO,
            code=ExitCode.CONFIGURATION,
        )
    return None


async def run_watched(
    runner: LocalRunner, plan: Plan, path: HardPath, trail: Trail, on_event: EventSink
) -> LocalRun:
    """Run once, and have everybody hear what it tells."""

    def listen(event: Event) -> None:
        if isinstance(event, StartedEvent):
            path.start()
        trail.note(event)
        on_event(event)

    last = trail.last
    run = await runner.run(
        plan.parameters, listen, stop=path.stop, attempt=last.attempt, resume=last.checkpoint
    )
    path.end()
    return run


def resumed_from(plan: Plan, last_runs: LastRuns, handler: str, type_: str) -> Resumed | None:
    """Return from where the run goes on; None for the start.

    Raises: CliError where there is nothing to go on from, and it is needed.
    """
    if plan.resume is None:
        return None
    if plan.resume:
        return read_checkpoint(Path(plan.resume))
    try:
        return last_runs.resume(handler, type_)
    except NothingToResume:
        if plan.is_resume_needed:
            raise
        return None


def fresh_environment() -> Mapping[str, str]:
    """Return our environment for children that must see each save.

    Python takes byte code for current when time (in seconds) and size of its source agree: two saves
    within a second would be one.
    """
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
