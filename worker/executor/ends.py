"""From what was seen of a run's end to what it means. Pure.

The order is that of the promises: a receipt first (what is finished is not lost), then what we did
ourselves (a stop, a limit), then what the system says of the process.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from worker.api.wire import ErrorKind, ResultCode
from worker.executor.evidence import Evidence, Exit, Overrun, StopReason
from worker.executor.frames import EXIT_CHANNEL_LOST, Ended
from worker.executor.outcome import RunError
from worker.executor.visible import visible

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
        return receipt_error(seen.ended, seen)
    if is_killed_by_kernel(seen):
        return kernel_oom_error(seen)
    if seen.overrun is not None:
        return overrun_error(seen.overrun, seen)
    if seen.not_loaded is not None:
        message, trace = visible(seen.not_loaded.message), visible_or_none(seen.not_loaded.traceback)
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
    elif seen.ended is not None and seen.ended.how in ("fail", "retry", "out_of_memory"):
        message = f"{message}; the handler: {visible(seen.ended.message)}"
    return RunError(
        kind=stop.kind,
        message=message,
        retryable=stop.kind in RETRYABLE_STOPS,
        exit_code=seen.exit.code if seen.exit and seen.ended is None else None,
        signal=seen.exit.signal_name if seen.exit and seen.ended is None else None,
    )


def receipt_error(ended: Ended, seen: Evidence) -> RunError:
    """Return the error that the handler's own end is."""
    kinds = {"invalid_parameters": ErrorKind.INVALID_PARAMETERS, "out_of_memory": ErrorKind.OUT_OF_MEMORY}
    kills = oom_kills(seen)
    note = f" ({kills_words(kills)} while it ran)" if kills else ""
    return RunError(
        kind=kinds.get(ended.how, ErrorKind.HANDLER_ERROR),
        message=visible(ended.message) + note,
        retryable=ended.how == "retry",
        retry_after_s=ended.retry_after_s,
        types=tuple(visible(name) for name in ended.types),
        traceback=visible_or_none(ended.traceback),
    )


def overrun_error(overrun: Overrun, seen: Evidence) -> RunError:
    """Return the error of a run that the minder killed at a limit."""
    if overrun.why == "deadline":
        message = "the run passed its time limit, and was killed when the agent itself was too busy to do so"
        return killed_error(ErrorKind.TIMEOUT, message, seen, retryable=False)
    used, limit = size(overrun.used_bytes), size(overrun.limit_bytes)
    if overrun.why == "pool":
        message = (
            f"the container's memory ({limit}) was nearly used up, and of what runs in it this run held most:"
            f" {used}; it was killed before the kernel would end the whole container"
        )
    else:
        message = f"the run used {used} of memory, more than its limit of {limit}, and was killed"
    if overrun.pid is not None:
        message += f"; most of it, {size(overrun.pid_bytes)}, was in process {overrun.pid} ({overrun.name})"
    return killed_error(ErrorKind.OUT_OF_MEMORY, message, seen, retryable=overrun.why == "pool")


def kernel_oom_error(seen: Evidence) -> RunError:
    """Return the error of a run of which the kernel killed a process for want of memory."""
    message = kills_words(oom_kills(seen) or seen.pool_oom_kills or 0)
    if seen.memory_bytes is not None:
        message += f", above its limit of {size(seen.memory_bytes)}"
    if seen.exit is not None and seen.exit.group_peak_bytes is not None:
        message += f" (peak with page cache: {size(seen.exit.group_peak_bytes)})"
    if seen.overrun is None:
        message += f"; {crash_message(seen)}"
    return killed_error(ErrorKind.OUT_OF_MEMORY, message, seen, retryable=seen.memory_bytes is None)


def killed_error(kind: ErrorKind, message: str, seen: Evidence, *, retryable: bool) -> RunError:
    """Return the error of a child that ended without a receipt, with how it ended."""
    return RunError(
        kind=kind,
        message=message,
        retryable=retryable,
        exit_code=seen.exit.code if seen.exit else None,
        signal=seen.exit.signal_name if seen.exit else None,
    )


def is_killed_by_kernel(seen: Evidence) -> bool:
    """Tell whether the kernel said that it killed for want of memory.

    Its count for the run's own group is proof. That of the container which all runs share is proof
    only together with a SIGKILL that nobody here sent; 137 or SIGKILL alone prove nothing.
    """
    if oom_kills(seen) or (seen.overrun is not None and seen.overrun.why == "kernel"):
        return True
    is_struck = seen.exit is not None and seen.exit.signal_name == "SIGKILL" and not seen.is_killed
    return is_struck and bool(seen.pool_oom_kills)


def oom_kills(seen: Evidence) -> int:
    """Return how many processes of the run the kernel is known to have killed."""
    return (seen.exit.oom_kills if seen.exit else None) or 0


def kills_words(count: int) -> str:
    """Say what the kernel did."""
    what = "a process" if count <= 1 else f"{count} processes"
    return f"the kernel killed {what} of the run for want of memory"


def visible_or_none(text: str | None) -> str | None:
    """Make a text visible, if there is one."""
    return None if text is None else visible(text)


def size(count_bytes: int | None) -> str:
    """Say a size for people."""
    if count_bytes is None:
        return "an unknown size"
    for unit, name in ((1024**3, "GiB"), (1024**2, "MiB")):
        if count_bytes >= unit:
            return f"{count_bytes / unit:.3g} {name}"
    return f"{count_bytes} bytes"


def crash_error(seen: Evidence) -> RunError:
    """Return the error of a child that ended without a receipt."""
    return killed_error(ErrorKind.CRASHED, crash_message(seen), seen, retryable=True)


def crash_message(seen: Evidence) -> str:
    """Say how the child ended."""
    if seen.channel_error is not None:
        return f"the handler's process broke its channel and was killed: {seen.channel_error}"
    if seen.exit is None:
        return "the handler's process ended without a result"
    if seen.exit.is_minder_lost:
        return (
            "the process that minds the handlers was killed, from outside or because it stood still"
            " (`minder.silent` in the agent's log), and all handlers ended with it"
        )
    return f"the handler's process {exit_words(seen.exit)} without a result"


def exit_words(end: Exit) -> str:
    """Say an exit in words, without a guess at its cause."""
    if end.code == EXIT_CHANNEL_LOST:
        return f"exited with code {end.code}, as it does when its handler closes its channel to the agent,"
    if end.signal is None:
        return f"exited with code {end.code}"
    if end.signal_name == "SIGKILL":
        return "was killed by SIGKILL from outside the agent (a person, or the kernel for want of memory)"
    return f"was ended by {end.signal_name}"
