"""What a report says: the bodies of the PUTs. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from worker.api.models import Identity
from worker.api.wire import ResultCode, format_instant
from worker.executor.executor import CheckpointEvent, Event, LogEvent, ProgressEvent, UsageEvent
from worker.executor.outcome import Outcome, RunError
from worker.executor.retries import Verdict
from worker.storage.file import StoredFile
from worker.usage.usage import Usage

__all__ = [
    "NO_CHECKPOINT",
    "REDUCTIONS",
    "RunState",
    "documented",
    "failed_instead",
    "is_cut_down",
    "reduced",
    "terminal_report",
    "with_files",
]

LOG_LINES_MAX = 50  # in a report; the whole log stays with the run's files
LOG_BYTES_MAX = 8 * 1024
# The fields that the reference's updateRunBody has; a strict server refuses any other.
DOCUMENTED: Final = frozenset(
    {"startedAt", "stoppedAt", "resultCode", "error", "progress", "results", "machine"}
)
NO_CHECKPOINT: Final = CheckpointEvent(None)
REDUCTIONS = 2  # how often a refused body can be cut down further


class RunState:
    """What is known of a run on its way: progress, the log's end, usage. Fed by the executor's events."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.progress = 0.0
        self.message: str | None = None
        self.usage: Usage | None = None
        self.stopping: dict[str, str] | None = None  # why it is asked to stop
        self.checkpoint = NO_CHECKPOINT  # the last: if run and machine are lost, the next attempt has it
        self._lines: deque[str] = deque(maxlen=LOG_LINES_MAX)
        self.version = 0  # counts what a report would tell anew; usage alone waits for the heartbeat

    def note(self, event: Event) -> None:
        """Keep what an event tells."""
        if isinstance(event, ProgressEvent):
            self.progress, self.message = max(self.progress, event.ratio), event.message or self.message
        elif isinstance(event, LogEvent):
            self._lines.append(event.line)
        elif isinstance(event, UsageEvent):
            self.usage = event.usage
            return
        elif isinstance(event, CheckpointEvent):
            self.checkpoint = event
        self.version += 1

    @property
    def log_tail(self) -> str:
        """The last lines of the log, bounded."""
        return "\n".join(self._lines)[-LOG_BYTES_MAX:]

    def report(
        self, identity: Identity, untold: Mapping[str, Any], *, checkpoint: Any = None
    ) -> dict[str, Any]:
        """Return the body of a report of a run that goes on; `untold` is what is new of the machine.

        Each has a checkpoint again, not always the newest: results replace those before.
        """
        results = {"logTail": self.log_tail, "message": self.message, "stopping": self.stopping}
        told = {name: value for name, value in results.items() if value}
        if checkpoint is not None:
            told["checkpoint"] = checkpoint
        if self.usage is not None:
            told["usage"] = self.usage.as_details()
        body: dict[str, Any] = {
            "startedAt": format_instant(identity.started_at),
            "progress": round(self.progress, 6),
            "results": told,
        }
        if self.usage is not None:
            body |= {name: value for name, value in self.usage.as_run_fields().items() if value is not None}
        return {**untold, **body}


def terminal_report(
    outcome: Outcome,
    identity: Identity,
    stopped_at: datetime,
    progress: float,
    untold: Mapping[str, Any] | None = None,
    *,
    retry: Verdict | None = None,
) -> dict[str, Any]:
    """Return the body that stops a run: how it ended, what it brought, what it cost, and on what it ran.

    `untold` is what the server was not told of the machine yet, `retry` what follows a failure.
    """
    is_success = outcome.code is ResultCode.SUCCESS
    body: dict[str, Any] = {
        "startedAt": format_instant(identity.started_at),
        "stoppedAt": format_instant(max(stopped_at, identity.started_at)),
        "resultCode": str(outcome.code),
        "progress": 1 if is_success else round(progress, 6),
        "results": results_of(outcome, retry),
    }
    if outcome.error is not None:
        body["error"] = outcome.error.text()
    body |= {name: value for name, value in outcome.usage.as_run_fields().items() if value is not None}
    return {**(untold or {}), **body}


def results_of(outcome: Outcome, retry: Verdict | None = None) -> dict[str, Any]:
    """Return `results`: the handler's own values, and beside them what we know of the run."""
    results: dict[str, Any] = dict(outcome.value)
    if outcome.error is not None:
        results["error"] = outcome.error.as_results()
    if retry is not None:
        results["retry"] = retry.as_results()
    if outcome.checkpoint is not None:
        results["checkpoint"] = outcome.checkpoint
    if outcome.log_tail:
        results["logTail"] = outcome.log_tail[-LOG_BYTES_MAX:]
    results["usage"] = outcome.usage.as_details()
    return results


def with_files(body: dict[str, Any], files: Sequence[StoredFile]) -> dict[str, Any]:
    """Return a terminal body whose results tell the run's files."""
    if not files:
        return body
    return {**body, "results": {**body.get("results", {}), "files": [file.as_results() for file in files]}}


def failed_instead(body: dict[str, Any], error: RunError) -> dict[str, Any]:
    """Return a terminal body that says failed, with everything else that it says."""
    return {
        **body,
        "resultCode": str(ResultCode.FAILED),
        "error": error.text(),
        "results": {**body.get("results", {}), "error": error.as_results()},
    }


def reduced(body: dict[str, Any], level: int, kept_at: str) -> dict[str, Any]:
    """Return a terminal body for a server that refused it whole.

    Level 0: as it is. 1: documented fields only (the usage stands in `results` all the same).
    2: `results` cut down to a note of where the whole lies on disk, which `kept_at` names; beside it
    what follows a failure, for whoever tries the task again must know its wait.
    """
    if level == 0:
        return body
    if level == 1:
        return documented(body)
    results = body.get("results") or {}
    size = len(msgspec.json.encode(results))
    note = f"the results ({size} bytes) were refused by the server; they are kept in {kept_at}"
    kept = {name: results[name] for name in ("retry",) if name in results}
    return {**documented(body), "results": {"note": note, **kept}}


def documented(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a report that the reference names."""
    return {name: value for name, value in body.items() if name in DOCUMENTED}


def is_cut_down(results: Mapping[str, Any]) -> bool:
    """Tell whether results are the note of where the whole lies."""
    return "note" in results and results.keys() <= {"note", "retry"}
