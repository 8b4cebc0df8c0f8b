"""From what was seen of a run's end to what it means. Pure.

The order is that of the promises: a receipt first (what is finished is not lost), then what we did
ourselves (a stop, a limit), then what the system says of the process.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from worker.api.wire import ErrorKind, ResultCode
from worker.executor.evidence import Evidence, Exit, StopReason
from worker.executor.frames import Ended
from worker.executor.outcome import RunError

__all__ = ["End", "classify"]

# Another attempt makes sense where the cause lies in the machine or in the moment.
RETRYABLE_STOPS = frozenset(
    {ErrorKind.DRAINED, ErrorKind.PREEMPTED, ErrorKind.NO_PROGRESS, ErrorKind.WORKER_LOST}
)


class End(Struct, frozen=True):
    """How a run ended, without its bill and its files."""

    code: ResultCode
    value: dict[str, Any]
    error: RunError | None


def classify(seen: Evidence) -> End:
    """Return the meaning of the evidence."""
    ended = seen.ended
    if ended is not None and ended.how == "returned":
        return End(ResultCode.SUCCESS, msgspec.json.decode(ended.value), None)
    return End(ResultCode.FAILED, {}, error_of(seen))


def error_of(seen: Evidence) -> RunError:
    """Return why a run failed."""
    if seen.spawn_error is not None:
        message = f"the child process could not be started: {seen.spawn_error}"
        return RunError(kind=ErrorKind.INTERNAL, message=message, retryable=True)
    if seen.stop is not None and is_end_by_stop(seen):
        return stop_error(seen.stop, seen)
    if seen.ended is not None:
        return receipt_error(seen.ended)
    if seen.not_loaded is not None:
        message, trace = seen.not_loaded.message, seen.not_loaded.traceback
        return RunError(kind=ErrorKind.HANDLER_ERROR, message=message, traceback=trace, retryable=True)
    return crash_error(seen)


def is_end_by_stop(seen: Evidence) -> bool:
    """Tell whether the run ended as it did because it was stopped.

    A handler that raised before it saw the stop failed by itself.
    """
    if seen.ended is None:
        return True
    return seen.ended.is_stop_seen and seen.ended.how != "invalid_parameters"


def stop_error(stop: StopReason, seen: Evidence) -> RunError:
    """Return the error of a run that was stopped."""
    message = stop.message
    if seen.ended is None and seen.is_killed:
        message = f"{message}; it did not stop in time and was killed"
    elif seen.ended is not None and seen.ended.how in ("fail", "retry"):
        message = f"{message}; the handler: {seen.ended.message}"
    return RunError(
        kind=stop.kind,
        message=message,
        retryable=stop.kind in RETRYABLE_STOPS,
        exit_code=seen.exit.code if seen.exit and seen.ended is None else None,
        signal=seen.exit.signal_name if seen.exit and seen.ended is None else None,
    )


def receipt_error(ended: Ended) -> RunError:
    """Return the error that the handler's own end is."""
    is_invalid = ended.how == "invalid_parameters"
    return RunError(
        kind=ErrorKind.INVALID_PARAMETERS if is_invalid else ErrorKind.HANDLER_ERROR,
        message=ended.message,
        retryable=ended.how == "retry",
        retry_after_s=ended.retry_after_s,
        traceback=ended.traceback,
    )


def crash_error(seen: Evidence) -> RunError:
    """Return the error of a child that ended without a receipt."""
    return RunError(
        kind=ErrorKind.CRASHED,
        message=crash_message(seen),
        retryable=True,
        exit_code=seen.exit.code if seen.exit else None,
        signal=seen.exit.signal_name if seen.exit else None,
    )


def crash_message(seen: Evidence) -> str:
    """Say how the child ended."""
    if seen.channel_error is not None:
        return f"the handler's process broke its channel and was killed: {seen.channel_error}"
    if seen.exit is None:
        return "the handler's process ended without a result"
    return f"the handler's process {exit_words(seen.exit)} without a result"


def exit_words(end: Exit) -> str:
    """Say an exit in words, without a guess at its cause."""
    if end.signal is None:
        return f"exited with code {end.code}"
    if end.signal_name == "SIGKILL":
        return "was killed by SIGKILL from outside the agent (a person, or the kernel for want of memory)"
    return f"was ended by {end.signal_name}"
