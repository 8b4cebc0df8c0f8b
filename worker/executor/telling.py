"""What people are told of a run's end: without secrets, with the last lines where nothing else tells more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from worker.executor.outcome import Outcome, RunError
from worker.redaction import Redactor

__all__ = ["redacted", "with_last_lines", "without_secrets"]

LAST_CHARS: Final = 2000
THREAD_BYTES: Final = 64 * 1024  # searched in about a millisecond


async def without_secrets(outcome: Outcome, redactor: Redactor, told_bytes: int) -> Outcome:
    """Return the outcome without secrets; a large one (of so many bytes as JSON) is searched on a thread."""
    if told_bytes < THREAD_BYTES:
        return redacted(outcome, redactor)
    return await asyncio.to_thread(redacted, outcome, redactor)


def redacted(outcome: Outcome, redactor: Redactor) -> Outcome:
    """Return the outcome without secrets, in its value, its error, its checkpoint and its log."""
    if not outcome.value and outcome.error is None and outcome.checkpoint is None and not outcome.log_tail:
        return outcome
    return replace(
        outcome,
        value=redactor.value(outcome.value) if outcome.value else outcome.value,
        error=None if outcome.error is None else redacted_error(outcome.error, redactor),
        checkpoint=None if outcome.checkpoint is None else redactor.value(outcome.checkpoint),
        log_tail=redactor.text(outcome.log_tail) if outcome.log_tail else "",
    )


def redacted_error(error: RunError, redactor: Redactor) -> RunError:
    """Return the error without secrets."""
    trace = error.traceback
    return replace(
        error,
        message=redactor.text(error.message),
        traceback=None if trace is None else redactor.text(trace),
        types=tuple(redactor.text(name) for name in error.types),
    )


def with_last_lines(error: RunError, lines: Sequence[str]) -> RunError:
    """Return an error that ends with what the process printed at last, which secrets were taken out of."""
    if not lines:
        return error
    text = "\n".join(lines)
    text = text if len(text) <= LAST_CHARS else "…" + text[1 - LAST_CHARS :]
    return replace(error, message=f"{error.message}; its last lines:\n{text}")
