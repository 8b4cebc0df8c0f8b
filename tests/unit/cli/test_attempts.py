"""What people are told of further attempts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.agent.stub_api import run
from worker.api.models import Run, Task
from worker.cli.attempts import next_attempt, waiting
from worker.cli.exits import CliError
from worker.cli.outcomes import TaskOutcome, last_column
from worker.cli.parameters import read_retries, with_retry
from worker.cli.view import runs_table

SAID = "attempt 1 of 3, next in 30 s"
AT = "2026-01-01T00:00:00.000Z"


def failed(reason: Any = SAID, **fields: Any) -> Run:
    """Return a run that failed."""
    given = {"startedAt": AT, "stoppedAt": AT, "resultCode": "Failed", "error": "crashed: gone"}
    return run("failed", results={"retry": {"reason": reason, "afterS": 30.0}}, **(given | fields))


def placeholder(**fields: Any) -> Run:
    """Return what makes its task pending again."""
    return run("again", **({"createdAt": "2026-01-01T00:00:01.000Z"} | fields))


def test_a_run_says_what_follows_it() -> None:
    """In the table, and for one run; what is no text is nothing."""
    assert next_attempt(failed()) == SAID
    assert next_attempt(failed(reason={"x": 1})) is None
    assert next_attempt(failed(stoppedAt=None)) is None
    assert next_attempt(run("plain", startedAt=AT, stoppedAt=AT)) is None


@pytest.mark.parametrize(("after_s", "told"), [(90, True), (0, False), ("x", False), (1e300, True)])
def test_a_task_that_waits_says_from_when_it_may_be_tried(after_s: Any, told: bool) -> None:
    """By the server's time; a time that no calendar has is a dash."""
    said = next_attempt(placeholder(results={"retry": {"afterS": after_s}}))
    assert (said is not None) is told
    assert not told or str(said).startswith("not before ")


def test_the_table_of_runs_has_a_column_for_it_where_one_tells() -> None:
    """Else it is as it was."""
    assert [column.header for column in runs_table([failed(), placeholder()]).columns][-1] == "next attempt"
    assert [column.header for column in runs_table([placeholder()]).columns][-1] == "error"


def test_a_failed_task_says_why_it_is_not_tried_again() -> None:
    """Behind its error, when the job is over."""
    read = Task.read({"id": "t"})
    assert read is not None
    one = TaskOutcome(read, failed(reason="no further attempt: attempt 3 of 3"))
    assert last_column(one).plain == "crashed: gone (no further attempt: attempt 3 of 3)"


def test_who_follows_a_job_is_told_of_tasks_that_wait() -> None:
    """Those whose most recent run is a placeholder, after a failure that tells."""
    assert waiting([failed(), placeholder()]) == (
        f"1 task failed and will be tried again: crashed: gone ({SAID})"
    )
    assert waiting([failed()]) == ""
    assert waiting([placeholder()]) == ""
    assert waiting([]) == ""


def test_a_policy_is_typed_key_by_key() -> None:
    """A key that is given several times is a list; what was typed wins over what is there."""
    typed = read_retries([("maxAttempts", "8"), ("retryOn", "timeout"), ("retryOn", "KeyError")])
    assert typed == {"maxAttempts": 8, "retryOn": ["timeout", "KeyError"]}
    assert with_retry({"retry": {"backoff": 5, "maxAttempts": 2}}, typed) == {
        "retry": {"backoff": 5, "maxAttempts": 8, "retryOn": ["timeout", "KeyError"]}
    }
    assert with_retry({"a": 1}, {}) == {"a": 1}
    assert with_retry({"a": 1}, {"jitter": True}) == {"a": 1, "retry": {"jitter": True}}


@pytest.mark.parametrize("pair", [("max", "8"), ("backoff", "soon"), ("retryOn", "time_out")])
def test_what_no_agent_could_read_is_refused_when_it_is_typed(pair: tuple[str, str]) -> None:
    """With the name of the key."""
    with pytest.raises(CliError, match=rf"retry\.{pair[0]}"):
        with_retry({}, read_retries([pair]))
