"""What task and job show after every step of a run's life."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.caller import STARTED, Caller

COUNTERS = ("taskStatusPending", "taskStatusRunning", "taskStatusStopped")
RESULTS = ("taskResultSuccesses", "taskResultFailures")


def shown(api: Caller, task_id: str) -> tuple[Any, Any, Any]:
    """Return a task's status, result and progress; no progress counts as 0."""
    task = api.get_task(task_id)
    listed = next(t for t in api.list("tasks", jobId=task["jobId"]) if t["id"] == task_id)
    assert listed == task
    return task["runStatus"], task["runResult"], task["runProgress"] or 0


def totals(api: Caller, job_id: str) -> tuple[tuple[Any, ...], tuple[Any, ...], Any, Any]:
    """Return a job's counters, results, progress and status."""
    job = api.get_job(job_id)
    assert job["taskCount"] == sum(job[name] for name in COUNTERS)
    counters = tuple(job[name] for name in COUNTERS)
    return counters, tuple(job[name] for name in RESULTS), job["taskProgress"], job["status"]


@pytest.mark.parametrize(("code", "results"), [("Success", (1, 0)), ("Failed", (0, 1))])
def test_a_run_takes_its_task_and_job_from_pending_to_stopped(
    api: Caller, code: str, results: tuple[int, int]
) -> None:
    """Created, claimed, half done, stopped: right after every write."""
    job_id = api.job()["id"]
    assert totals(api, job_id)[:3] == ((0, 0, 0), (0, 0), 0)
    task_id = api.task(job_id)["id"]
    assert shown(api, task_id) == ("pending", None, 0)
    assert totals(api, job_id) == ((1, 0, 0), (0, 0), 0, "pending")
    run_id = api.claim(task_id)["id"]
    assert shown(api, task_id) == ("running", None, 0)
    assert totals(api, job_id) == ((0, 1, 0), (0, 0), 0, "running")
    api.report(run_id, startedAt=STARTED, progress=0.5)
    assert shown(api, task_id) == ("running", None, 0.5)
    assert totals(api, job_id) == ((0, 1, 0), (0, 0), 0.5, "running")
    api.stop(run_id, code, progress=1)
    assert shown(api, task_id) == ("stopped", code, 1)
    assert totals(api, job_id) == ((0, 0, 1), results, 1, "stopped")


def test_a_job_with_many_tasks_counts_each_of_them(api: Caller) -> None:
    """Progress is the mean over tasks; the status is running as long as one is not stopped."""
    job_id = api.job()["id"]
    tasks = [api.task(job_id)["id"] for _ in range(4)]
    first, second, third = (api.claim(task_id)["id"] for task_id in tasks[:3])
    api.stop(first, progress=1)
    api.stop(second, "Failed", progress=1)
    api.report(third, startedAt=STARTED, progress=0.2)
    counters, results, progress, status = totals(api, job_id)
    assert (counters, results, status) == ((1, 1, 2), (1, 1), "running")
    assert progress == pytest.approx(2.2 / 4)
    api.stop(third, progress=1)
    assert totals(api, job_id)[3] == "running"
    api.stop(api.claim(tasks[3])["id"], progress=1)
    assert totals(api, job_id) == ((0, 0, 4), (3, 1), 1, "stopped")


def test_a_placeholder_makes_a_stopped_task_pending_again(api: Caller) -> None:
    """The task shows its most recent run; so does the job, at once."""
    job_id = api.job()["id"]
    task_id = api.task(job_id)["id"]
    api.stop(api.claim(task_id)["id"], "Failed", progress=0.5)
    api.placeholder(task_id)
    assert shown(api, task_id) == ("pending", None, 0)
    assert totals(api, job_id) == ((1, 0, 0), (0, 0), 0, "pending")
    assert len(api.list("runs", taskId=task_id)) == 2


def test_a_run_that_is_stopped_while_a_placeholder_waits_leaves_the_task_pending(api: Caller) -> None:
    """The way a task is requeued: first the placeholder, then the stop; never shown as failed."""
    job_id = api.job()["id"]
    task_id = api.task(job_id)["id"]
    run_id = api.claim(task_id)["id"]
    api.placeholder(task_id)
    api.stop(run_id, "Failed", error="drained: told to stop")
    assert shown(api, task_id) == ("pending", None, 0)
    counters, results, _, _ = totals(api, job_id)
    assert (counters, results) == ((1, 0, 0), (0, 0))


def test_a_requeued_task_can_be_claimed_and_finished(api: Caller) -> None:
    """The second run's result is what counts."""
    task_id = api.task()["id"]
    api.stop(api.claim(task_id)["id"], "Failed")
    placeholder = api.placeholder(task_id)
    run = api.claim(task_id, podId="pod/b")
    assert shown(api, task_id)[0] == "running"
    if api.name == "foreign":
        api.stop(placeholder["id"], "Failed", error="requeued: continued")
    api.stop(run["id"], "Success", progress=1)
    assert shown(api, task_id) == ("stopped", "Success", 1)
    job_id = api.get_task(task_id)["jobId"]
    assert totals(api, job_id)[:2] == ((0, 0, 1), (1, 0))
