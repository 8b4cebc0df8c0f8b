"""How a run ended."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct, field

from worker.api.wire import ErrorKind, ResultCode, format_error
from worker.storage.file import SpooledFile
from worker.usage.usage import Usage, unmeasured

__all__ = ["NOT_STARTED", "Outcome", "RunError", "failed"]

NOT_STARTED: Final = "the run did not start in a process"  # why such a run has no figures


class RunError(Struct, frozen=True, kw_only=True):
    """Why a run failed; stands in `error` as ``kind: message`` and, whole, in `results.error`."""

    kind: ErrorKind
    message: str
    retryable: bool = False
    retry_after_s: float | None = None
    exit_code: int | None = None
    signal: str | None = None
    traceback: str | None = None
    types: tuple[str, ...] = ()  # of what the handler raised: its class and those it is derived from

    def text(self) -> str:
        """Return the run's `error`."""
        return format_error(self.kind, self.message)

    def as_results(self) -> dict[str, Any]:
        """Return `results.error`."""
        return {
            "kind": str(self.kind),
            "message": self.message,
            "retryable": self.retryable,
            "exitCode": self.exit_code,
            "signal": self.signal,
            "traceback": self.traceback,
        }


class Outcome(Struct, frozen=True, kw_only=True):
    """The end of one run: Success with a value, or Failed with an error; always with its bill."""

    code: ResultCode
    value: dict[str, Any] = field(default_factory=dict)  # what the handler returned
    error: RunError | None = None
    usage: Usage = field(default_factory=lambda: unmeasured(NOT_STARTED))
    files: tuple[SpooledFile, ...] = ()  # made by the run, not stored yet
    log_tail: str = ""
    checkpoint: Any = None


def failed(kind: ErrorKind, message: str) -> Outcome:
    """Return the outcome of a run that never started."""
    is_retryable = kind is not ErrorKind.INVALID_PARAMETERS
    return Outcome(code=ResultCode.FAILED, error=RunError(kind=kind, message=message, retryable=is_retryable))
