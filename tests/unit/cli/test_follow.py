"""When a job is over."""

from __future__ import annotations

from typing import Any

import pytest

from worker.api.models import Job
from worker.cli.follow import QUIET_S, Hint, is_over, summary, why_quiet
from worker.cli.terminal import Output


def job(**fields: Any) -> Job:
    """Return a job."""
    read = Job.read({"id": "j", **fields})
    assert read is not None
    return read


@pytest.mark.parametrize(
    ("fields", "total", "expected"),
    [
        ({"taskCount": 2, "taskStatusStopped": 2}, 0, True),
        ({"taskCount": 2, "taskStatusStopped": 1}, 0, False),
        ({"taskCount": 2, "taskStatusStopped": 2}, 3, False),  # still being filled
        ({"taskCount": 0, "taskStatusStopped": 0}, 0, True),
        ({"taskCount": "2", "taskStatusStopped": "2"}, 0, True),
        ({"status": "stopped"}, 5, True),  # a server without counters
        ({"status": "running"}, 0, False),
        ({}, 0, False),
        ({"taskCount": 2, "taskStatusStopped": 1, "schedulerState": "cancelled"}, 0, True),
        (
            {"taskCount": 2, "taskStatusStopped": 1, "taskStatusRunning": 1, "schedulerState": "cancelled"},
            0,
            False,
        ),
        ({"taskCount": 2, "taskStatusStopped": 1, "schedulerState": "paused"}, 0, False),
    ],
)
def test_a_job_is_over_when_nothing_more_will_happen(
    fields: dict[str, Any], total: int, expected: bool
) -> None:
    """All tasks stopped, or nobody wants it any more and nothing runs."""
    assert is_over(job(**fields), total) is expected


def test_a_job_is_said_in_a_line() -> None:
    """What is zero or usual is left out; what is unknown is a dash."""
    assert summary(job(taskCount=3, taskStatusStopped=1, taskStatusRunning=2, schedulerState="active")) == (
        "1/3 done, 2 running"
    )
    assert (
        summary(job(taskCount=3, taskResultFailures=1, schedulerState="paused"))
        == "–/3 done, 1 failed, paused"
    )
    assert summary(job(status="running")) == "job running"


@pytest.mark.parametrize(
    ("fields", "quiet_s", "said"),
    [
        ({}, QUIET_S - 1.0, ""),
        ({"type": "render"}, QUIET_S, "none is up that can take a task of type 'render'"),
        ({"taskStatusRunning": 1}, 3600.0, ""),  # a long task is nothing to speak of
        ({"schedulerState": "paused"}, QUIET_S, "millhand resume j"),
    ],
)
def test_who_waits_for_nothing_is_told_why_that_may_be(
    fields: dict[str, Any], quiet_s: float, said: str
) -> None:
    """A job that nobody can take does not hang in silence."""
    why = why_quiet(job(**fields), quiet_s)
    assert said in why
    assert bool(why) is bool(said)


def test_the_hint_comes_once_and_never_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """A program that reads JSON gets JSON alone."""
    hint = Hint(Output(is_json=True, is_terminal=False, has_color=False))
    for _ in range(3):
        hint.look(job(type="render"), QUIET_S)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("note: ") == 1
