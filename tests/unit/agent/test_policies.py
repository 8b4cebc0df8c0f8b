"""Which rule counts for a failed run of this agent, and what counts as an attempt."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.agent.stub_api import run, task
from worker.agent.policies import INTERRUPTIONS_MAX, Policies, own_faults
from worker.api.models import Run
from worker.api.wire import ErrorKind
from worker.executor.outcome import RunError
from worker.executor.retries import Verdict

OPTIONS: dict[str, dict[str, Any]] = {
    "noop": {"retry": {"maxAttempts": 5, "backoff": 10}},
    "other": {"retry": None},
}


def failed(kind: ErrorKind, known: tuple[Run, ...] = (), attempt: int = 1, type_: str = "noop") -> Verdict:
    """Return what follows a failure."""
    error = RunError(kind=kind, message="", retryable=True)
    return Policies(OPTIONS, None).verdict(task(type=type_), "r", error, known, attempt)


def ended(kind: str) -> Run:
    """Return an earlier run that failed so."""
    return run(kind, startedAt="x", stoppedAt="x", resultCode="Failed", error=f"{kind}: no")


def test_a_handlers_policy_counts_for_its_type() -> None:
    """A type without one has the usual rules, and so has a type that nobody knows."""
    assert (failed(ErrorKind.CRASHED).max_attempts, failed(ErrorKind.CRASHED).after_s) == (5, 10.0)
    for type_ in ("other", "nobody"):
        assert failed(ErrorKind.CRASHED, type_=type_).max_attempts == 3


def test_interruptions_are_no_attempts() -> None:
    """They go on at once, and leave the count as it was."""
    known = (
        ended("drained"),
        ended("preempted"),
        ended("worker_lost"),
        ended("lost_claim"),
        ended("crashed"),
    )
    assert own_faults(known) == 1
    assert failed(ErrorKind.TIMEOUT, known, 6).reason == "attempt 2 of 5, next in 20 s"
    found = failed(ErrorKind.DRAINED, known, 6)
    assert (found.attempt, found.after_s) == (None, 0.0)
    assert found.reason == "interrupted (drained), which is no attempt; next at once"


def test_what_was_given_back_before_it_began_is_never_the_last_run() -> None:
    """Nothing of it was executed, however many runs there were before."""
    found = failed(ErrorKind.LOST_CLAIM, attempt=INTERRUPTIONS_MAX)
    assert (found.is_again, found.attempt, found.after_s) == (True, None, 0.0)


@pytest.mark.parametrize("kind", [ErrorKind.DRAINED, ErrorKind.PREEMPTED, ErrorKind.WORKER_LOST])
def test_interruptions_have_a_bound_of_their_own(kind: ErrorKind) -> None:
    """Then a person must look."""
    assert failed(kind, attempt=INTERRUPTIONS_MAX - 1).is_again
    last = failed(kind, attempt=INTERRUPTIONS_MAX)
    assert not last.is_again
    assert "interrupted too often" in last.reason
