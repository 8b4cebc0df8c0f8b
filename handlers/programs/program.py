"""One program that runs: started, read line by line, stopped with everything that it started."""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from handlers.programs.lines import LineCutter
from worker import Context, Fail

__all__ = ["ending", "run_program"]

OnLine = Callable[[str, str, bool], None]  # stream, text, whether it was meant to be overwritten
ReadSome = Callable[[], bool]  # read what is there; whether there was something

POLL_S = 0.02  # how late a request to stop is seen at most
READ_BYTES = 65536
QUIET_S = 0.5  # how long nothing is printed, after the program's end, until reading stops
REST_S = 10.0  # how long the rest is read at most: somebody who left the group may print for ever
TERM_GRACE_S = 5.0  # between SIGTERM and SIGKILL where the run has no deadline
KILL_MARGIN_S = 0.5  # SIGKILL comes so much before the run's deadline, to end in order
REAP_S = 10.0  # SIGKILL cannot be refused; only a stuck disk keeps a process longer


def run_program(
    ctx: Context,
    argv: Sequence[str],
    environment: Mapping[str, str],
    cwd: Path,
    on_line: OnLine,
    *,
    timeout_s: float | None = None,
    ask_to_end: Callable[[float], None] | None = None,
    on_look: Callable[[], None] | None = None,
    kill_margin_s: float = KILL_MARGIN_S,
) -> int:
    """Run a program to its end and return its exit code (negative: the signal that ended it).

    It has a process group of its own. When this returns or raises, nothing of that group is left.

    Args:
        ctx: the run.
        argv: the program's path and arguments.
        environment: all that it sees.
        cwd: its current directory.
        on_line: takes what it prints.
        ask_to_end: asks it to end, once, with how many seconds it has; by default it gets SIGTERM.
        on_look: called each time that it is looked at, some 50 times a second; must be quick.
        kill_margin_s: SIGKILL comes so much before the run's deadline.
        timeout_s: how long it may take; then it is asked to end as well.

    Raises:
        Fail: it could not be started, or took longer than `timeout_s` and was stopped.
        Cancelled: the run was asked to stop, and the program was stopped.
    """
    limit_mono = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
    process = start(argv, environment, cwd)
    try:
        ask = ask_to_end or (lambda _: signal_group(process, signal.SIGTERM))
        if follow(ctx, process, on_line, Way(ask, on_look, kill_margin_s, limit_mono)):
            ctx.check()  # a program that had ended by itself before is not thrown away
            raise Fail(f"{argv[0]} took longer than {timeout_s:g} s, and was stopped")
    finally:
        kill(process)
    return process.returncode


class Way(NamedTuple):
    """How a program is followed and ended."""

    ask_to_end: Callable[[float], None]
    on_look: Callable[[], None] | None
    kill_margin_s: float
    limit_mono: float  # then it has taken too long


def start(argv: Sequence[str], environment: Mapping[str, str], cwd: Path) -> subprocess.Popen[bytes]:
    """Start it without a shell, with closed input, and with an environment of its own."""
    try:
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
    except (OSError, ValueError) as exc:  # not executable, arguments too long, a NUL in one of them
        raise Fail(f"{argv[0]} could not be started: {exc}") from exc


def follow(ctx: Context, process: subprocess.Popen[bytes], on_line: OnLine, way: Way) -> bool:
    """Read both streams until the program and what it started have ended; tell whether it was asked to."""
    cutters = {"stdout": LineCutter(), "stderr": LineCutter()}
    with streams_of(process) as selector:
        was_asked = read_until_the_end(ctx, process, lambda: read(selector, cutters, on_line), way)
        signal_group(process, signal.SIGKILL)  # what it left in the background ends with it
        read_the_rest(selector, lambda: read(selector, cutters, on_line))
    for name, cutter in cutters.items():
        for line in cutter.end():
            on_line(name, *line)
    return was_asked


def read_until_the_end(ctx: Context, process: subprocess.Popen[bytes], read_some: ReadSome, way: Way) -> bool:
    """Read until the program has ended, or was asked to and has had its time; tell whether it was asked.

    Reading goes on while it ends: a program that is stuck in a full pipe could not clean up.
    """
    asked_mono = math.inf
    while not has_ended(process) and not is_out_of_time(ctx, asked_mono, way.kill_margin_s):
        if asked_mono == math.inf and (ctx.cancelled or time.monotonic() > way.limit_mono):
            asked_mono = time.monotonic()
            ctx.log("asked the program to end (SIGTERM)", reason=ctx.stop_reason or "its own time limit")
            way.ask_to_end(grace_s(ctx, way.kill_margin_s))
        read_some()
        if way.on_look is not None:
            way.on_look()
    return asked_mono < math.inf


def read_the_rest(selector: selectors.BaseSelector, read_some: ReadSome) -> None:
    """Read what is still in the pipes: to their end, or until nobody has written for a while.

    Somebody may hold a pipe who has left the program's group.
    """
    limit_mono = time.monotonic() + REST_S
    quiet_mono = time.monotonic() + QUIET_S
    while selector.get_map() and time.monotonic() < min(limit_mono, quiet_mono):
        if read_some():
            quiet_mono = time.monotonic() + QUIET_S


def streams_of(process: subprocess.Popen[bytes]) -> selectors.BaseSelector:
    """Return a selector over the program's output streams."""
    selector = selectors.DefaultSelector()
    for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
        if pipe is not None:
            selector.register(pipe, selectors.EVENT_READ, name)
    return selector


def read(selector: selectors.BaseSelector, cutters: Mapping[str, LineCutter], on_line: OnLine) -> bool:
    """Read what is there, or wait a moment for it; tell whether there was something."""
    ready = selector.select(POLL_S)
    for key, _ in ready:
        chunk = os.read(key.fd, READ_BYTES)
        if not chunk:
            selector.unregister(key.fileobj)
        for line in cutters[key.data].feed(chunk):
            on_line(key.data, *line)
    return bool(ready)


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether the program has ended, without reaping it: its id stays taken until `kill` is done."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def grace_s(ctx: Context, margin_s: float) -> float:
    """Return how long a program that is asked to end now has."""
    return TERM_GRACE_S if ctx.deadline is None else max(0.0, ctx.deadline - margin_s)


def is_out_of_time(ctx: Context, asked_mono: float, margin_s: float) -> bool:
    """Tell whether a program that was asked to end has had its time."""
    if asked_mono == math.inf:
        return False
    if ctx.deadline is None or not ctx.cancelled:
        return time.monotonic() > asked_mono + TERM_GRACE_S
    return ctx.deadline <= margin_s


def kill(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the program's group, then reap the program."""
    signal_group(process, signal.SIGKILL)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    process.wait(timeout=REAP_S)


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to the program and what it started.

    The program is not reaped before the last signal, so its id cannot belong to anybody else. Who has
    become another user is out of reach here; the end of the run's whole tree gets them.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def ending(exit_code: int) -> str:
    """Say how a program ended that did not end well."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        return f"was ended by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"was ended by signal {-exit_code}"
