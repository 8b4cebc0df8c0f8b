"""What a handler may say of further attempts, and what is refused at its import."""

from __future__ import annotations

from typing import Any

import pytest

from worker import RetryPolicy, handler
from worker.executor.task_retry import read_retry
from worker.sdk import spec_of


class BusyError(Exception):
    """An author's own error."""


def test_a_policy_stands_in_the_options_as_a_task_would_say_it() -> None:
    """One reader reads both; classes are told by their names with modules."""
    policy = RetryPolicy(
        max_attempts=5, backoff_s=30, factor=1.5, max_backoff_s=600, jitter=True,
        retry_on=(BusyError, ConnectionError, "socket.gaierror", "timeout"), no_retry_on=[PermissionError],
    )  # fmt: skip
    spec = spec_of(handler("x", retry=policy, concurrency=2)(lambda ctx: None))
    assert spec is not None
    assert spec.options()["concurrency"] == 2
    assert spec.options()["retry"] == {
        "maxAttempts": 5,
        "backoff": 30,
        "factor": 1.5,
        "maxBackoff": 600,
        "jitter": True,
        "retryOn": [f"{__name__}.BusyError", "builtins.ConnectionError", "socket.gaierror", "timeout"],
        "noRetryOn": ["builtins.PermissionError"],
    }
    rules, problems = read_retry(spec.options()["retry"])
    assert problems == ()
    assert rules.retry_on == (
        f"{__name__}.BusyError",
        "builtins.ConnectionError",
        "socket.gaierror",
        "timeout",
    )


def test_what_is_not_given_is_left_to_others() -> None:
    """An empty policy says nothing."""
    assert RetryPolicy().options() == {}


def test_a_policy_is_frozen() -> None:
    """Handlers share one."""
    with pytest.raises(AttributeError, match="frozen"):
        RetryPolicy().max_attempts = 7


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"max_attempts": 2.0}, "max_attempts"),
        ({"max_attempts": 1001}, "max_attempts"),
        ({"backoff_s": -1}, "backoff_s"),
        ({"backoff_s": "30s"}, "backoff_s"),
        ({"backoff_s": float("nan")}, "backoff_s"),
        ({"max_backoff_s": 86401}, "max_backoff_s"),
        ({"factor": 0.5}, "factor"),
        ({"retry_on": "timeout"}, r"write retry_on=\('timeout',\)"),
        ({"retry_on": ValueError}, r"write retry_on=\(ValueError,\)"),
        ({"retry_on": ("time_out",)}, "no kind of error"),
        ({"retry_on": ("drained",)}, "no kind of error"),
        ({"retry_on": ("a b",)}, "retry_on"),
        ({"retry_on": ("",)}, "retry_on"),
        ({"retry_on": (3,)}, "retry_on"),
        ({"no_retry_on": (int,)}, "no_retry_on"),
        ({"retry_on": ["ValueError"] * 65}, "more than 64"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(options: dict[str, Any], named: str) -> None:
    """With the name of the option; the author learns of it at import."""
    with pytest.raises(ValueError, match=named):
        RetryPolicy(**options)


@pytest.mark.parametrize("option", ["gpus", "concurrency"])
@pytest.mark.parametrize("count", [0, -1, True, 1.5, "2"])
def test_what_is_no_count_is_refused(option: str, count: Any) -> None:
    """It is a whole number from 1."""
    with pytest.raises(ValueError, match=option):
        handler("x", **{option: count})


def test_a_retry_that_is_no_policy_is_refused() -> None:
    """The message says what to write."""
    with pytest.raises(TypeError, match=r"retry=RetryPolicy\(max_attempts=5\)"):
        handler("x", retry=5)  # type: ignore[arg-type]
