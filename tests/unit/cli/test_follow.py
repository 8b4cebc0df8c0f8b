"""When a job is over."""

from __future__ import annotations

from typing import Any

import pytest

from worker.api.models import Job
from worker.cli.follow import is_over, summary


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
