"""Lists: paging, sorting and filters."""

from __future__ import annotations

import pytest

from tests.contract.caller import Caller
from tests.contract.reference import JOB, RUN, TASK, assert_shape

KINDS = [("jobs", JOB), ("tasks", TASK), ("runs", RUN)]


def filled(fresh_api: Caller, kind: str, count: int) -> list[str]:
    """Create so many jobs, tasks of one job, or runs of its tasks; return their ids in order."""
    if kind == "jobs":
        return [fresh_api.job(title=f"j{number:03d}")["id"] for number in range(count)]
    job_id = fresh_api.job()["id"]
    tasks = [fresh_api.task(job_id, title=f"t{number:03d}")["id"] for number in range(count)]
    return tasks if kind == "tasks" else [fresh_api.claim(task_id)["id"] for task_id in tasks]


@pytest.mark.parametrize(("kind", "fields"), KINDS)
def test_lists_come_in_pages_of_thirty_and_of_a_hundred_at_most(
    fresh_api: Caller, kind: str, fields: dict[str, str]
) -> None:
    """Default 30, at most 100, pages count from 1, a page behind the last one is empty."""
    ids = filled(fresh_api, kind, 103)
    first = fresh_api.list(kind)
    assert len(first) == 30
    for item in first:
        assert_shape(item, fields)
    assert len(fresh_api.list(kind, perPage=100)) == 100
    assert len(fresh_api.list(kind, perPage=100, page=2)) == 3
    assert fresh_api.list(kind, perPage=100, page=3) == []
    assert len(fresh_api.list(kind, page=4)) == 13
    paged = [item["id"] for page in range(1, 12) for item in fresh_api.list(kind, page=page, perPage=10)]
    assert sorted(paged) == sorted(ids)
    path = "/api/jobs" if kind == "jobs" else f"/api/jobs/{kind}"
    larger = fresh_api.call("GET", path, params={"perPage": 101})
    assert larger.status_code == 422 or len(larger.json()[kind]) == 100


@pytest.mark.parametrize(("kind", "fields"), KINDS)
def test_lists_are_sorted_by_creation_unless_told_otherwise(
    fresh_api: Caller, kind: str, fields: dict[str, str]
) -> None:
    """`+createdAt` is the default, `-createdAt` turns it round; a plus may arrive as a space."""
    filled(fresh_api, kind, 5)
    shown = [item["createdAt"] for item in fresh_api.list(kind)]
    assert shown == sorted(shown)
    assert [item["createdAt"] for item in fresh_api.list(kind, sort="+createdAt")] == shown
    assert [item["createdAt"] for item in fresh_api.list(kind, sort="-createdAt")] == shown[::-1]
    path = "/api/jobs" if kind == "jobs" else f"/api/jobs/{kind}"
    spaced = fresh_api.expect("GET", f"{path}?sort=+createdAt")[kind]
    assert [item["createdAt"] for item in spaced] == shown


def test_jobs_are_sorted_by_other_fields_too(fresh_api: Caller) -> None:
    """Title, up and down."""
    for title in ("b", "c", "a"):
        fresh_api.job(title=title)
    assert [job["title"] for job in fresh_api.list("jobs", sort="+title")] == ["a", "b", "c"]
    assert [job["title"] for job in fresh_api.list("jobs", sort="-title")] == ["c", "b", "a"]


def test_jobs_are_filtered_by_status(fresh_api: Caller) -> None:
    """A job is in the list of its status alone."""
    jobs = {}
    for status in ("pending", "running", "stopped"):
        task = fresh_api.task()
        jobs[status] = task["jobId"]
        if status != "pending":
            run = fresh_api.claim(task["id"])
            if status == "stopped":
                fresh_api.stop(run["id"])
    for status, job_id in jobs.items():
        shown = fresh_api.list("jobs", status=status)
        assert [job["id"] for job in shown] == [job_id]
        assert [job["status"] for job in shown] == [status]


def test_tasks_are_filtered_by_job_and_by_status(fresh_api: Caller) -> None:
    """Both filters, alone and together."""
    mine, other = fresh_api.job()["id"], fresh_api.job()["id"]
    pending, running, stopped = (fresh_api.task(mine)["id"] for _ in range(3))
    fresh_api.task(other)
    fresh_api.claim(running)
    fresh_api.stop(fresh_api.claim(stopped)["id"])
    assert {task["id"] for task in fresh_api.list("tasks", jobId=mine)} == {pending, running, stopped}
    for status, task_id in (("pending", pending), ("running", running), ("stopped", stopped)):
        assert [t["id"] for t in fresh_api.list("tasks", jobId=mine, runStatus=status)] == [task_id]
    assert len(fresh_api.list("tasks", runStatus="pending")) == 2
    assert fresh_api.list("tasks", runStatus="pending", jobId="nobody") == []


@pytest.mark.parametrize("statuses", ["", "running,pending", "stopped"])
def test_tasks_of_a_job_are_sorted_by_status(ours: Caller, statuses: str) -> None:
    """Then by creation, all of it up or down, page by page; a paused job shows its pending ones, too."""
    job = ours.job()["id"]
    tasks = [ours.task(job)["id"] for _ in range(9)]
    for task in tasks[1:7]:
        run = ours.claim(task)
        if task in tasks[2:5]:
            ours.stop(run["id"])
    filters = {"jobId": job} | ({"runStatus": statuses} if statuses else {})
    if not statuses:
        ours.expect("PUT", f"/api/jobs/{job}", json={"schedulerState": "paused"})
    expected = [tasks[at] for at in (0, 7, 8, 1, 5, 6, 2, 3, 4)]
    if statuses:
        expected = expected[6:] if statuses == "stopped" else expected[:6]
    for sort, shown in (("+runStatus", expected), ("-runStatus", expected[::-1])):
        pages = [ours.list("tasks", sort=sort, page=str(page), perPage="4", **filters) for page in (1, 2, 3)]
        assert [task["id"] for page in pages for task in page] == shown


def test_runs_are_filtered_by_job_and_by_task(fresh_api: Caller) -> None:
    """One of the two is enough; both narrow."""
    job_id = fresh_api.job()["id"]
    first, second = fresh_api.task(job_id)["id"], fresh_api.task(job_id)["id"]
    runs = {task_id: fresh_api.claim(task_id)["id"] for task_id in (first, second)}
    elsewhere = fresh_api.claim(fresh_api.task()["id"])
    assert {run["id"] for run in fresh_api.list("runs", jobId=job_id)} == set(runs.values())
    assert [run["id"] for run in fresh_api.list("runs", taskId=first)] == [runs[first]]
    assert [run["id"] for run in fresh_api.list("runs", jobId=job_id, taskId=second)] == [runs[second]]
    assert fresh_api.list("runs", jobId=elsewhere["jobId"], taskId=first) == []


def test_the_organisation_narrows_every_list(fresh_api: Caller) -> None:
    """Its own id changes nothing; another one leaves nothing."""
    run = fresh_api.claim(fresh_api.task()["id"])
    for kind in ("jobs", "tasks", "runs", "reports"):
        assert len(fresh_api.list(kind, orgId=run["orgId"])) == 1, kind
        assert fresh_api.list(kind, orgId="another-organisation") == [], kind


@pytest.mark.parametrize(
    "query", [{"perPage": "x"}, {"page": "0"}, {"page": "-1"}, {"perPage": "0"}, {"sort": "+nosuchfield"}]
)
@pytest.mark.parametrize("kind", ["jobs", "tasks", "runs"])
def test_a_query_that_makes_no_sense_is_never_a_server_error(
    ours: Caller, kind: str, query: dict[str, str]
) -> None:
    """Refused with a clear error, or read leniently; never a 500."""
    answer = ours.call("GET", "/api/jobs" if kind == "jobs" else f"/api/jobs/{kind}", params=query)
    assert answer.status_code in (200, 422)
    if answer.status_code == 422:
        assert next(iter(query)) in answer.json()["error"]["message"]
