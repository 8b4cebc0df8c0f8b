"""One container, from its creation to its removal: started, read, measured, stopped, judged, removed."""

from __future__ import annotations

import math
import signal
import subprocess
import time

from handlers.containers.arguments import Spec, create_arguments
from handlers.containers.consumption import ContainerMeter
from handlers.containers.engine import Engine, said
from handlers.containers.leftovers import remove
from handlers.programs.printed import Printed
from handlers.programs.program import ending, run_program
from worker import Context, Fail, OutOfMemory, Retry

__all__ = ["run_container"]

KILL_MARGIN_S = 2.5  # before the run's deadline: to end the container, to look at its end, to remove it
TELL_S = 0.25  # between two tellings of what it consumes
UNSEEN = "the container's control group could not be read from here"
NOT_YET = "nothing was seen yet of what the container consumes"
FIRST_SIGNAL = 128
# Of podman without root on cgroup v1; of docker where the kernel lacks a controller.
IGNORED = ("limits are not supported and ignored", "limitation discarded", "limit discarded")
NOT_HELD = "limits of the container are not held on this machine: its engine ignores them"
NOT_STARTED = ("created", "configured", "initialized")


def run_container(ctx: Context, engine: Engine, spec: Spec, printed: Printed) -> None:
    """Run it to its end; when this returns or raises it is removed, or left to a later run where that fails.

    Raises:
        Fail: it could not be made or started, or ended with another exit code than 0.
        OutOfMemory: the kernel killed in it for want of memory, and it did not end well.
        Retry: the engine failed, not the program.
        Cancelled: the run was asked to stop, and the container was stopped.
    """
    ctx.check()
    id_ = create(ctx, engine, spec)
    consumed = Consumed(ctx, ContainerMeter(id_))
    stopping = Stopping(engine, id_)
    try:
        consumed.begin()
        run_program(
            ctx,
            engine.command("start", "--attach", id_),
            engine.environment,
            ctx.workdir,
            printed.take,
            ask_to_end=stopping.ask,
            on_look=consumed.look,
            kill_margin_s=KILL_MARGIN_S,
        )
        judge(engine, spec, id_, consumed, printed)
    finally:
        with stopping:
            is_removed = try_to_remove(ctx, engine, id_)
        consumed.end(is_last=is_removed)


def create(ctx: Context, engine: Engine, spec: Spec) -> str:
    """Make the container, and return its id; limits that the engine passes over are told."""
    made = engine.ask(*create_arguments(spec, is_podman=engine.is_podman, is_rootless=engine.is_rootless))
    id_ = made.stdout.strip().rpartition("\n")[2]
    if made.returncode != 0 or not id_:
        raise engine.failure("make the container", made.stderr)
    if any(part in made.stderr.lower() for part in IGNORED):
        ctx.log(NOT_HELD, level="warning", engine=said(made.stderr))
    return id_


def try_to_remove(ctx: Context, engine: Engine, id_: str) -> bool:
    """Remove the container; tell whether it is gone. What became of the run does not hang on it."""
    try:
        remove(engine, id_)
    except (Fail, Retry) as exc:
        ctx.log(
            "the container could not be removed; a later run will try again", level="warning", error=str(exc)
        )
        return False
    return True


def judge(engine: Engine, spec: Spec, id_: str, consumed: Consumed, printed: Printed) -> None:
    """Raise what the container's end is, unless it is a success: by what the engine knows, not by exit codes.

    Docker says OOMKilled also where only a child was killed and all ended well, so that alone is no failure.
    """
    found = engine.look("container", id_)
    if found is None:
        raise Retry("the container is gone: somebody has removed it while it ran")
    state = found.get("State") or {}
    code = state.get("ExitCode")
    if state.get("Error"):
        raise engine.failure("start the container", str(state["Error"]))
    if state.get("Status") in NOT_STARTED:
        raise engine.failure("start the container", printed.tail())
    if not isinstance(code, int) or state.get("Status") not in ("exited", "stopped"):
        raise Retry(f"{engine.name} lost the container, which is {state.get('Status')!r}{printed.tail()}")
    if code != 0 and (state.get("OOMKilled") or consumed.meter.oom_kills):
        raise OutOfMemory(
            f"the container was out of memory{limit_words(spec)}; it {words(code)}{printed.tail()}"
        )
    if code != 0:
        raise Fail(f"the container {words(code)}{printed.tail()}")


def words(code: int) -> str:
    """Say how the program ended: of one that a signal ended, engines tell 128 and its number."""
    try:
        name = signal.Signals(code - FIRST_SIGNAL).name if code > FIRST_SIGNAL else ""
    except ValueError:
        name = ""
    return f"{ending(code)}, as after {name}" if name else ending(code)


def limit_words(spec: Spec) -> str:
    """Say its limit."""
    limit_bytes = spec.limits.memory_bytes
    return "" if limit_bytes is None else f" (its limit is {limit_bytes / 1024**2:.4g} MiB)"


class Stopping:
    """Ask the container to end, as the image wants to be asked, while its output is still read."""

    def __init__(self, engine: Engine, id_: str) -> None:
        self._engine = engine
        self._id = id_
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, within_s: float) -> None:
        """Ask it, and have it killed if it goes on for so long."""
        seconds = str(max(0, math.floor(within_s)))
        self._process = subprocess.Popen(
            self._engine.command("stop", "--time", seconds, self._id),
            env=dict(self._engine.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def __enter__(self) -> None:
        """Go on."""

    def __exit__(self, *_: object) -> None:
        """Let the asking end; the container is gone by now."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Consumed:
    """Tell for the bill what the container consumes."""

    def __init__(self, ctx: Context, meter: ContainerMeter) -> None:
        self.meter = meter
        self._ctx = ctx
        self._due_mono = 0.0

    def begin(self) -> None:
        """Tell that something is consumed: a run that is killed before it was seen has no complete bill."""
        self._ctx.usage(method="none", reason=NOT_YET, is_last=False)

    def look(self) -> None:
        """Look at it, and tell now and then."""
        if self.meter.look() and time.monotonic() >= self._due_mono:
            self._due_mono = time.monotonic() + TELL_S
            self._tell(self.meter.held_bytes, is_last=False)

    def end(self, *, is_last: bool) -> None:
        """Tell what it was; where it is gone (`is_last`) it holds nothing any more."""
        if self.meter.groups is None or not self.meter.is_seen:
            self._ctx.usage(method="none", reason=UNSEEN, is_last=is_last)
        else:
            self._tell(0 if is_last else self.meter.held_bytes, is_last=is_last)

    def _tell(self, held_bytes: int, *, is_last: bool) -> None:
        groups = self.meter.groups
        self._ctx.usage(
            method=groups.method if groups is not None else "none",
            cpu_user_s=self.meter.cpu_user_s,
            cpu_system_s=self.meter.cpu_system_s,
            ram_bytes=held_bytes,
            ram_peak_bytes=self.meter.peak_bytes,
            pid=self.meter.pid(),
            is_last=is_last,
        )
