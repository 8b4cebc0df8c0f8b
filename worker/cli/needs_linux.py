"""Refuse, in one sentence and before anything begins, what this system cannot do."""

from __future__ import annotations

from typing import Final

from worker.cli.exits import CliError, ExitCode

__all__ = ["INSTEAD", "require_linux"]

INSTEAD: Final = (
    "take a Linux machine or container for it; the fixture `run_handler` and every command that only talks"
    " to the API work here"
)


def require_linux() -> None:
    """Go on where handlers can run as an agent runs them.

    Raises: CliError elsewhere.
    """
    from worker.executor.linux import unfit_reason

    if reason := unfit_reason():
        raise CliError(reason, INSTEAD, code=ExitCode.CONFIGURATION)
