"""Which failures are tried again, how often, and after how long."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.api.wire import ErrorKind
from worker.executor.outcome import RunError
from worker.executor.retries import WAIT_MAX_S, RetryRules, Verdict, decide, effective_rules
from worker.executor.task_retry import read_retry

REFUSED = (
    "builtins.ConnectionRefusedError",
    "builtins.ConnectionError",
    "builtins.OSError",
    "builtins.Exception",
)
FAIL = ("worker.sdk.errors.Fail", "builtins.Exception")


def verdict(
    retry: Any = None,
    *,
    before: int = 0,
    handler: Any = None,
    agent: int | None = None,
    run_id: str = "r",
    **error: Any,
) -> Verdict:
    """Decide on a failure: by default a handler's own exception, worth another attempt."""
    task, problems = read_retry(retry)
    of_handler, more = read_retry(handler)
    assert problems == more == ()
    given: dict[str, Any] = {"kind": ErrorKind.HANDLER_ERROR, "message": "no", "retryable": True} | error
    rules = effective_rules(task, of_handler, agent)
    return decide(rules, RunError(**given), faults_before=before, run_id=run_id)


def test_three_attempts_two_and_four_seconds_apart_where_nobody_says() -> None:
    """The usual policy."""
    waits = [verdict(before=before).after_s for before in range(4)]
    assert waits == [2.0, 4.0, None, None]
    assert verdict(before=1).reason == "attempt 2 of 3, next in 4 s"
    assert verdict(before=2).reason == "no further attempt: attempt 3 of 3"


@pytest.mark.parametrize(
    ("retry", "waits"),
    [
        ({"backoff": 0}, [0.0, 0.0, 0.0]),
        ({"backoff": "30s"}, [30.0, 60.0, 120.0]),
        ({"backoff": 30, "factor": 1}, [30.0, 30.0, 30.0]),
        ({"backoff": 30, "factor": 10, "maxBackoff": "1m"}, [30.0, 60.0, 60.0]),
        ({"backoff": "1d", "maxBackoff": "1d", "factor": 100}, [WAIT_MAX_S] * 3),
        ({"backoff": 10, "maxBackoff": 0}, [0.0, 0.0, 0.0]),
    ],
)
def test_waits_grow_by_the_factor_up_to_their_bound(retry: Any, waits: list[float]) -> None:
    """From the first one on."""
    told = {**retry, "maxAttempts": 9}
    assert [verdict(told, before=before).after_s for before in range(3)] == waits


@given(st.integers(0, 10**6), st.text(max_size=40))
def test_a_wait_has_its_bounds_whatever_the_attempt(before: int, run_id: str) -> None:
    """No overflow, nothing negative; with jitter any part of it, the same for whoever computes it."""
    rules = RetryRules(max_attempts=10**9, backoff_s=1.0, factor=100.0, max_backoff_s=50.0, jitter=True)
    error = RunError(kind=ErrorKind.CRASHED, message="", retryable=True)
    found = decide(rules, error, faults_before=before, run_id=run_id)
    assert found.after_s is not None
    assert 0.0 <= found.after_s <= 50.0
    assert found == decide(rules, error, faults_before=before, run_id=run_id)


def test_jitter_tells_runs_apart() -> None:
    """Tasks that failed together come back one by one."""
    waits = {verdict({"backoff": 60, "jitter": True}, run_id=f"run-{at}").after_s for at in range(50)}
    assert len(waits) > 45
    assert max(w for w in waits if w is not None) > 45.0
    assert min(w for w in waits if w is not None) < 15.0


@pytest.mark.parametrize(
    ("asked", "waits"), [(0.0, 0.0), (7.5, 7.5), (5000.0, 5000.0), (1e9, WAIT_MAX_S), (-3.0, 0.0)]
)
def test_what_a_handler_asks_for_counts_instead_of_the_back_off(asked: float, waits: float) -> None:
    """`raise Retry("…", after_s=…)`; a day at most."""
    assert verdict({"backoff": 30, "maxBackoff": 60}, retry_after_s=asked).after_s == waits


@pytest.mark.parametrize(
    ("task", "handler", "agent", "attempts"),
    [
        (None, None, None, 3),
        (None, 5, None, 5),
        (7, 5, None, 7),
        (2, 5, None, 2),
        (7, 5, 4, 4),
        (None, None, 1, 1),
        (None, None, 50, 3),
        (500, None, None, 100),
        (500, None, 1000, 500),
    ],
)
def test_the_task_wins_over_the_handler_and_the_agent_bounds_both(
    task: int | None, handler: int | None, agent: int | None, attempts: int
) -> None:
    """Who knows best, within what the owner of the machine allows."""
    found = verdict({"maxAttempts": task}, handler={"maxAttempts": handler}, agent=agent)
    assert found.max_attempts == attempts


def test_rules_are_taken_key_by_key() -> None:
    """A task that says how often leaves it to the handler when."""
    found = verdict(
        {"maxAttempts": 8}, handler={"maxAttempts": 2, "backoff": 40, "retryOn": ["timeout"]}, before=2
    )
    assert (found.after_s, found.max_attempts) == (160.0, 8)


@pytest.mark.parametrize(
    ("retry", "error", "why_not"),
    [
        ({}, {"retryable": False, "types": REFUSED}, "ConnectionRefusedError is not in retryOn"),
        ({"retryOn": "ConnectionRefusedError"}, {"retryable": False, "types": REFUSED}, None),
        ({"retryOn": "builtins.ConnectionRefusedError"}, {"retryable": False, "types": REFUSED}, None),
        ({"retryOn": "OSError"}, {"retryable": False, "types": REFUSED}, None),
        ({"retryOn": "requests.ConnectionError"}, {"retryable": False, "types": REFUSED}, "not in retryOn"),
        ({"retryOn": "handler_error"}, {"retryable": False, "types": REFUSED}, None),
        ({"retryOn": ["timeout", "KeyError"]}, {"retryable": False, "types": REFUSED}, "not in retryOn"),
        ({"retryOn": "timeout"}, {"retryable": False, "kind": ErrorKind.TIMEOUT}, None),
        ({}, {"retryable": False, "kind": ErrorKind.TIMEOUT}, "timeout is not in retryOn"),
        ({"retryOn": "out_of_memory"}, {"retryable": False, "kind": ErrorKind.OUT_OF_MEMORY}, None),
        ({"retryOn": "KeyError"}, {"kind": ErrorKind.CRASHED}, None),
        ({"noRetryOn": "crashed"}, {"kind": ErrorKind.CRASHED}, "crashed is in noRetryOn"),
        (
            {"retryOn": "handler_error", "noRetryOn": "ConnectionError"},
            {"retryable": False, "types": REFUSED},
            "ConnectionError is in noRetryOn",
        ),
        ({"retryOn": "Exception"}, {"retryable": False, "types": FAIL}, "for good"),
        ({"retryOn": "Fail"}, {"retryable": False, "types": FAIL}, "for good"),
        ({"retryOn": "handler_error"}, {"kind": ErrorKind.CANCELLED}, "cancelled is final"),
        ({"retryOn": "Exception"}, {"kind": ErrorKind.INVALID_PARAMETERS, "types": FAIL}, "final"),
    ],
)
def test_which_errors_are_worth_another_attempt(
    retry: Any, error: dict[str, Any], why_not: str | None
) -> None:
    """By kind and by class, derived ones too; what is final stays so."""
    found = verdict(retry, **error)
    assert found.is_again is (why_not is None)
    assert found.is_worth_it is found.is_again
    if why_not is not None:
        assert found.reason.startswith("not retried: ")
        assert why_not in found.reason


@pytest.mark.parametrize(
    ("retry", "named"),
    [
        ("often", "retry must be an object"),
        ([], "retry must be an object"),
        ({"attempts": 3}, "retry.attempts is not known; known are maxAttempts"),
        ({"maxAttempts": 0}, "retry.maxAttempts"),
        ({"maxAttempts": "many"}, "retry.maxAttempts"),
        ({"maxAttempts": 1.5}, "retry.maxAttempts"),
        ({"maxAttempts": 10**400}, "retry.maxAttempts"),
        ({"backoff": -1}, "retry.backoff"),
        ({"backoff": "soon"}, "retry.backoff"),
        ({"backoff": "2d"}, "retry.backoff must be a day at most"),
        ({"maxBackoff": 1e300}, "retry.maxBackoff"),
        ({"factor": 0.9}, "retry.factor"),
        ({"factor": float("inf")}, "retry.factor"),
        ({"jitter": "perhaps"}, "retry.jitter"),
        ({"jitter": 1}, "retry.jitter"),
        ({"retryOn": {}}, "retry.retryOn"),
        ({"retryOn": [1]}, "retry.retryOn"),
        ({"retryOn": "time_out"}, "retry.retryOn has 'time_out': it is no kind of error"),
        ({"noRetryOn": "x\x1b[31m"}, "retry.noRetryOn"),
        ({"retryOn": ["A"] * 65}, "at most 64"),
    ],
)
def test_what_cannot_be_read_is_named(retry: Any, named: str) -> None:
    """A policy that is not understood must not mean "as usual"."""
    (problem,) = read_retry(retry)[1]
    assert problem.startswith(named) or named in problem


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(), st.lists)
    | st.dictionaries(
        st.sampled_from(
            ["maxAttempts", "backoff", "factor", "maxBackoff", "jitter", "retryOn", "noRetryOn", "x"]
        ),
        st.none() | st.booleans() | st.floats() | st.text() | st.integers() | st.lists(st.text()),
    )
)
def test_whatever_a_task_holds_is_read_or_refused(retry: Any) -> None:
    """Nothing raises, and what was read leads to a decision in bounds."""
    rules, _ = read_retry(retry)
    error = RunError(kind=ErrorKind.CRASHED, message="", retryable=True)
    found = decide(effective_rules(rules, RetryRules(), None), error, faults_before=0, run_id="r")
    assert found.after_s is None or 0.0 <= found.after_s <= WAIT_MAX_S
    assert 1 <= found.max_attempts <= 100
