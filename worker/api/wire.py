"""Constants of the wire, and reading and writing of its values, tolerant on the way in.

Nothing here imports more than the standard library, so that the server shares it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

__all__ = [
    "AGENT_HEADER",
    "BATCH_HEADER",
    "BATCH_MOST",
    "BRIEFLY",
    "CLAIMS_HEADER",
    "LEASE_HEADER",
    "OFFERS_HEADER",
    "SCHEDULER_STATE_HEADER",
    "ErrorKind",
    "ResultCode",
    "RunStatus",
    "as_bool",
    "as_float",
    "as_int",
    "as_mapping",
    "as_text",
    "as_texts",
    "format_error",
    "format_instant",
    "one_of",
    "parse_instant",
    "run_status",
]

INSTANTS_KEPT: Final = 64  # as they were written last: the start of a run is, four times
AGENT_HEADER: Final = "Millhand-Agent"  # request: the identity (podId) of who sends it
BATCH_HEADER: Final = "Millhand-Batch"  # answer: how many writes of runs one request may carry
BATCH_MOST: Final = 32  # of them that our server takes: what an agent has at one moment, seldom more
BRIEFLY: Final = "return=minimal"  # Prefer, and Preference-Applied in the answer (RFC 7240)
CLAIMS_HEADER: Final = "Millhand-Claims"  # answer: "unique" where one live run per task is sure
LEASE_HEADER: Final = "Millhand-Lease"  # answer about a run: seconds it may stay silent
OFFERS_HEADER: Final = "Millhand-Offers"  # answer to a held list: "1" where a run may be offered instead
SCHEDULER_STATE_HEADER: Final = "Millhand-Scheduler-State"  # answer about a run: its job's state


class RunStatus(StrEnum):
    """The status of a run, and of a task as that of its most recent run."""

    PENDING = "pending"  # not started: a task without runs, or a placeholder
    RUNNING = "running"  # startedAt is set
    STOPPED = "stopped"  # stoppedAt is set; final


class ResultCode(StrEnum):
    """The two values of `resultCode` that clients of the service know."""

    SUCCESS = "Success"
    FAILED = "Failed"


class ErrorKind(StrEnum):
    """Why a run failed: the word before the colon in `error`, and `results.error.kind`."""

    HANDLER_ERROR = "handler_error"  # the handler raised
    INVALID_PARAMETERS = "invalid_parameters"  # the task's parameters do not fit the handler
    TIMEOUT = "timeout"  # longer than the wall time limit
    NO_PROGRESS = "no_progress"  # no progress for longer than allowed
    CANCELLED = "cancelled"  # its job was stopped by a person
    PREEMPTED = "preempted"  # the machine is taken away
    DRAINED = "drained"  # the agent was told to stop
    OUT_OF_MEMORY = "out_of_memory"  # on evidence only
    CRASHED = "crashed"  # the child ended without a receipt
    WORKER_LOST = "worker_lost"  # the agent died or fell silent
    LOST_CLAIM = "lost_claim"  # another run of the task won
    REQUEUED = "requeued"  # a placeholder that was taken by a claim
    INTERNAL = "internal"  # our own fault


def format_error(kind: ErrorKind | str, message: str) -> str:
    """Return the run's `error` text: ``kind: message``."""
    return f"{kind}: {message}" if message else str(kind)


@lru_cache(INSTANTS_KEPT)
def format_instant(at: datetime) -> str:
    """Return an aware time as the wire writes it: UTC, milliseconds (truncated), ``Z``."""
    utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def parse_instant(value: object) -> datetime | None:
    """Read a time of the wire, truncated to milliseconds; None where it is none.

    A time without a zone is taken as UTC. Numbers are not times.
    """
    if not isinstance(value, str) or len(value) < 10:
        return None
    try:
        at = datetime.fromisoformat(value)
        if at.tzinfo is not UTC:  # Python's own reading of Z is
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):  # in UTC before the year 1, or after 9999
        return None
    below_ms = at.microsecond % 1000
    return at.replace(microsecond=at.microsecond - below_ms) if below_ms else at


def as_text(value: object) -> str | None:
    """Return a non-empty string, numbers written out; None for anything else."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def as_texts(raw: Mapping[str, Any], names: Iterable[str]) -> list[str | None]:
    """Return the fields of an object as `as_text` reads each, most of which are texts or nothing."""
    return [
        value if value is None or (type(value) is str and value) else as_text(value)
        for value in map(raw.get, names)
    ]


def as_float(value: object) -> float | None:
    """Read a finite number that may come as a string; None where it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float | str):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        return number if number - number == 0 else None  # inf and nan are no numbers here
    return None


def as_int(value: object) -> int | None:
    """Read a whole number that may come as a string or with a fraction; None where it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = as_float(value)
    return None if number is None else int(number)


def as_bool(value: object) -> bool | None:
    """Read a boolean that may come as a string (any case) or 0/1; None where it is none."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.strip().lower())
    if value in (0, 1):
        return bool(value)
    return None


def as_mapping(value: object) -> dict[str, Any]:
    """Return the object itself, or an empty one where it is none."""
    return value if isinstance(value, dict) else {}


def one_of(body: object) -> dict[str, Any] | None:
    """Return the object that an answer carries, bare or as a list of one; None where there is none."""
    if isinstance(body, list):
        body = body[0] if len(body) == 1 else None
    return body if isinstance(body, dict) else None


def run_status(run: Mapping[str, Any]) -> RunStatus:
    """Return a run's status from its `startedAt` and `stoppedAt`."""
    if run.get("stoppedAt"):
        return RunStatus.STOPPED
    return RunStatus.RUNNING if run.get("startedAt") else RunStatus.PENDING
