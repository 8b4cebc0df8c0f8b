"""Exit codes, and the one error that a command raises for a person to read."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CliError", "ExitCode", "describe_exit_codes"]


class ExitCode(IntEnum):
    """What the exit code of every command means."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    UNAUTHORISED = 4
    CONFIGURATION = 5
    REFUSED = 6
    INTERNAL = 70
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """Say it in words."""
        return MEANINGS[self]


MEANINGS = {
    ExitCode.OK: "everything went well",
    ExitCode.FAILED: "the work failed: a task, a check, or a process that was started",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.UNREACHABLE: "the Jobs API, or the agent that is asked, did not answer, or failed",
    ExitCode.UNAUTHORISED: "the Jobs API does not accept the token",
    ExitCode.CONFIGURATION: "a setting, the configuration file or this machine is not as it must be",
    ExitCode.REFUSED: "the Jobs API, or the agent, does not know it, or does not accept the request",
    ExitCode.INTERNAL: "a fault of millhand itself",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
}


class CliError(Exception):
    """What went wrong (on what, and why), what to do about it, and the exit code."""

    def __init__(self, message: str, todo: str = "", *, code: ExitCode = ExitCode.FAILED) -> None:
        """Keep what is shown."""
        super().__init__(message)
        self.message = message
        self.todo = todo
        self.code = code


def describe_exit_codes() -> str:
    """Return one line per code, for the help."""
    return "\n".join(f"{code.value:>3}  {code.meaning}" for code in ExitCode)
