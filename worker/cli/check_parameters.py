"""Check what is to be submitted against the handler of this machine, where there is one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from worker.cli.exits import CliError, ExitCode
from worker.cli.terminal import Output
from worker.cli.type_help import handler_here
from worker.executor.checking import Checked, check_parameters

__all__ = ["check_sets"]


def check_sets(type_: str, handlers: Sequence[str], sets: Sequence[dict[str, Any]], out: Output) -> None:
    """Pass where the parameters fit, or nobody here can tell; say why nobody can where a handler is here.

    Raises: CliError with everything that is wrong.
    """
    checked = asyncio.run(checked_here(type_, handlers, sets))
    if checked is None:
        return
    if checked.error is not None:
        reason = checked.error.partition("\n")[0]
        out.note(f"the parameters were not checked: the handler of {type_!r} cannot run here: {reason}")
        return
    if checked.bad:
        raise CliError(
            f"parameters of {type_!r}: {told(checked.bad, len(sets))}",
            f"see: millhand submit {type_} --help; with --no-check it is submitted all the same",
            code=ExitCode.USAGE,
        )


async def checked_here(type_: str, handlers: Sequence[str], sets: Sequence[dict[str, Any]]) -> Checked | None:
    """Return what the handler of a type finds; None where there is none on this machine."""
    entry = await handler_here(type_, handlers)
    if entry is None:
        return None
    if entry.problem is not None:
        return Checked(error=entry.problem)
    return await check_parameters(type_, entry.target, sets)


def told(bad: dict[int, list[str]], total: int) -> str:
    """Return each problem once; with the first task that has it where there are several."""
    first: dict[str, int] = {}
    for index, problems in bad.items():
        for problem in problems:
            first.setdefault(problem, index + 1)
    return "; ".join(
        problem if total == 1 else f"{problem} (task {number} of {total})"
        for problem, number in first.items()
    )
