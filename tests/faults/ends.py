"""Compare the end of an animal with what its file says that it must be."""

from __future__ import annotations

from tests.faults.animals import End
from worker.api.wire import ResultCode
from worker.executor.outcome import Outcome, RunError

__all__ = ["check_end"]

MAX_MESSAGE_CHARS = 5000


def check_end(outcome: Outcome, end: End) -> None:
    """Compare an outcome with what it must be."""
    error = outcome.error
    assert (error.kind if error else None) == end.kind, outcome
    assert outcome.code is (ResultCode.SUCCESS if end.kind is None else ResultCode.FAILED)
    if error is not None:
        check_error(error, end)
    for name, wanted in (end.value or {}).items():
        assert outcome.value.get(name) == wanted, outcome.value
    assert lacking(end.log, outcome.log_tail) == [], outcome.log_tail
    assert lacking(end.log_not, outcome.log_tail) == [*end.log_not], outcome.log_tail
    assert lacking(end.files, " ".join(one.name for one in outcome.files)) == [], outcome.files


def check_error(error: RunError, end: End) -> None:
    """Compare an error with what it must be."""
    wanted = (end.exit_code, end.signal, end.retryable)
    assert (error.exit_code, error.signal, error.retryable) == wanted, error
    assert lacking(end.says, error.message) == [], error.message
    assert lacking(end.says_not, error.message) == [*end.says_not], error.message
    assert lacking(end.traceback, error.traceback or "") == [], error.traceback
    assert len(error.message) <= MAX_MESSAGE_CHARS


def lacking(words: tuple[str, ...], text: str) -> list[str]:
    """Return what a text does not hold."""
    return [one for one in words if one not in text]
