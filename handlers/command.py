"""`command`: run a program that the operator of the machine allows."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handlers.programs.allowed import find_program
from handlers.programs.outputs import check_patterns, find_outputs
from handlers.programs.program import run_program
from handlers.programs.progress import ProgressReader, progress_reader
from worker import Context, Fail, handler

__all__ = ["command"]

# What a program sees of the worker's environment: how to find libraries, how to talk, its GPUs and
# threads, and the name of its process tree, by which the worker finds what is left of it.
PASSED_ON = frozenset({"LANG", "LD_LIBRARY_PATH", "MILLHAND_TREE", "PATH", "TZ"})
PASSED_ON_PREFIXES = ("CUDA_", "LC_", "NVIDIA_", "OMP_")
TAIL_LINES = 20  # how many of the last lines stand in an error
TAIL_CHARS = 500  # of each of them


@handler("command")
def command(
    ctx: Context,
    *,
    program: str,
    args: list[str] | None = None,
    outputs: list[str] | None = None,
    progress: str | None = None,
) -> dict[str, Any]:
    r"""Run an allowed program with arguments, never through a shell, in the run's own folder.

    Args:
        ctx: the run.
        program: its name or absolute path; it must be in MILLHAND_COMMANDS on the machine.
        args: its arguments, one string each.
        outputs: patterns below the run's folder, as ``renders/*.png``; the files that match are kept.
        progress: a regular expression with one group (percent) or two (so many, of so many), as
            ``frame (\d+) of (\d+)``; by default ``NN%`` and ``N/M`` are understood.
    """
    check_patterns(outputs or [])
    printed = Printed(ctx, progress_reader(progress))
    argv = [find_program(program, os.environ), *(args or [])]
    exit_code = run_program(ctx, argv, environment_of(ctx.workdir, os.environ), ctx.workdir, printed.take)
    if exit_code != 0:
        raise Fail(f"{program} {ending(exit_code)}{printed.tail()}")
    names = [keep(ctx, path) for path in find_outputs(ctx.workdir, outputs or [])]
    ctx.progress(1.0, "done")
    return {"exitCode": 0, "lines": printed.count, "outputs": names}


class Printed:
    """What the program printed: logged, counted, searched for progress; the last lines kept."""

    def __init__(self, ctx: Context, ratio_in: ProgressReader) -> None:
        self.count = 0
        self._ctx = ctx
        self._ratio_in = ratio_in
        self._last: deque[str] = deque(maxlen=TAIL_LINES)

    def take(self, stream: str, text: str, is_overwritten: bool) -> None:
        """Take one line; a state of a progress bar tells progress and is not logged."""
        ratio = self._ratio_in(text)
        if ratio is not None:
            self._ctx.progress(ratio, text.strip())
        if not is_overwritten:
            self.count += 1
            self._last.append(text[:TAIL_CHARS])
            self._ctx.log(text, stream=stream)

    def tail(self) -> str:
        """Return the last lines for an error."""
        return ":\n" + "\n".join(self._last) if self._last else ", and printed nothing"


def environment_of(workdir: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the program's environment: a few variables of the worker's, and a home of its own."""
    passed_on = {
        name: value
        for name, value in environment.items()
        if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
    return passed_on | {"HOME": str(workdir), "TMPDIR": str(workdir)}


def ending(exit_code: int) -> str:
    """Say how a program ended that did not end well."""
    if exit_code > 0:
        return f"ended with exit code {exit_code}"
    try:
        return f"was ended by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"was ended by signal {-exit_code}"


def keep(ctx: Context, path: Path) -> str:
    """Make a file of the run's folder an artifact, named by its place there."""
    return ctx.artifact(path, name=path.relative_to(ctx.workdir).as_posix())
