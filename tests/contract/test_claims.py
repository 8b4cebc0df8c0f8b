"""Our server's word on claims: one live run per task, one end per run, one owner."""

from __future__ import annotations

import threading
from uuid import uuid4

import httpx
import pytest

from tests.contract.caller import STARTED, STOPPED, Caller
from tests.contract.reference import assert_error

RACERS = 12


def claim_body(task_id: str, **fields: object) -> dict[str, object]:
    """Return the body of a claim."""
    return {"id": str(uuid4()), "taskId": task_id, "startedAt": STARTED, "podId": "pod/a", **fields}


def test_a_claim_of_a_running_task_is_refused(ours: Caller) -> None:
    """409, and the live run is as it was."""
    task = ours.task()
    run = ours.claim(task["id"])
    assert_error(ours.call("POST", "/api/jobs/runs", json=claim_body(task["id"], podId="pod/b")), 409)
    assert ours.list("runs", taskId=task["id"]) == [run]


def test_a_claim_of_a_stopped_task_is_refused(ours: Caller) -> None:
    """What is done is not done again, unless a placeholder says so."""
    task = ours.task()
    ours.stop(ours.claim(task["id"])["id"])
    assert_error(ours.call("POST", "/api/jobs/runs", json=claim_body(task["id"])), 409)
    ours.placeholder(task["id"])
    assert ours.call("POST", "/api/jobs/runs", json=claim_body(task["id"])).status_code == 200


def test_the_same_claim_sent_twice_is_one_run(ours: Caller) -> None:
    """An agent whose answer got lost sends the same body again and gets the same run, or a 409."""
    body = claim_body(ours.task()["id"])
    first = ours.expect("POST", "/api/jobs/runs", json=body)
    again = ours.call("POST", "/api/jobs/runs", json=body)
    assert again.status_code in (200, 409)
    if again.status_code == 200:
        assert again.json() == first
    assert len(ours.list("runs", taskId=str(body["taskId"]))) == 1


def test_a_known_id_under_another_identity_is_refused(ours: Caller) -> None:
    """Two agents that race send the same id; the second is told, and the run stays the first's."""
    body = claim_body(ours.task()["id"])
    first = ours.expect("POST", "/api/jobs/runs", json=body)
    assert_error(ours.call("POST", "/api/jobs/runs", json=body | {"podId": "pod/b"}), 409)
    later = body | {"startedAt": "2026-01-02T03:04:05.679Z"}
    assert_error(ours.call("POST", "/api/jobs/runs", json=later), 409)
    assert ours.get_run(str(body["id"])) == first


@pytest.mark.parametrize("same_id", [True, False])
def test_of_many_claims_at_once_exactly_one_holds(ours: Caller, same_id: bool) -> None:
    """Agents that race, each on its own connection."""
    task_id, id_ = ours.task()["id"], str(uuid4())
    barrier, statuses = threading.Barrier(RACERS), [0] * RACERS

    def race(number: int) -> None:
        body = claim_body(task_id, podId=f"pod/{number}") | ({"id": id_} if same_id else {})
        barrier.wait(10)
        statuses[number] = ours.call("POST", "/api/jobs/runs", json=body).status_code

    threads = [threading.Thread(target=race, args=(number,)) for number in range(RACERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(statuses) == [200] + [409] * (RACERS - 1)
    (run,) = ours.list("runs", taskId=task_id)
    assert run["podId"] == f"pod/{statuses.index(200)}"


def test_a_stopped_run_cannot_be_changed_but_its_report_may_come_twice(ours: Caller) -> None:
    """409 for anything else; the very same terminal report is answered 200 with the run."""
    run = ours.claim(ours.task()["id"])
    path = f"/api/jobs/runs/{run['id']}"
    report = {
        "startedAt": STARTED,
        "stoppedAt": STOPPED,
        "resultCode": "Success",
        "results": {"value": {"b": 1, "a": [1.0, None]}},
        "progress": 1,
        "CPUTime": 1.5,
    }
    stopped = ours.expect("PUT", path, json=report)
    assert ours.expect("PUT", path, json=report) == stopped
    for other in (
        {"progress": 0.5},
        report | {"resultCode": "Failed"},
        report | {"results": {"value": 2}},
        report | {"stoppedAt": "2026-01-02T03:05:07.000Z"},
    ):
        assert_error(ours.call("PUT", path, json=other), 409)
    assert ours.get_run(run["id"]) == stopped


def test_the_same_report_in_another_writing_is_the_same_report(ours: Caller) -> None:
    """Keys in another order, numbers as strings, a time in another zone: compared by meaning."""
    run = ours.claim(ours.task()["id"])
    path = f"/api/jobs/runs/{run['id']}"
    report = {"stoppedAt": STOPPED, "resultCode": "Success", "results": {"b": 1, "a": 2}, "CPUTime": 1}
    stopped = ours.expect("PUT", path, json=report)
    other = {"CPUTime": "1.0", "results": {"a": 2, "b": 1}, "stoppedAt": "2026-01-02T04:05:06.789+01:00"}
    assert ours.expect("PUT", path, json=other | {"resultCode": "Success"}) == stopped


def test_the_time_of_a_claim_is_compared_as_an_instant(ours: Caller) -> None:
    """Another zone and finer digits are the same claim."""
    run = ours.claim(ours.task()["id"])
    for same in ("2026-01-02T04:04:05.678+01:00", "2026-01-02T03:04:05.678999Z"):
        assert ours.report(run["id"], startedAt=same, progress=0.5)["startedAt"] == STARTED


def test_a_report_by_somebody_else_is_refused(ours: Caller) -> None:
    """Another agent by its header, or by the `startedAt` that every report repeats."""
    run = ours.claim(ours.task()["id"])
    path = f"/api/jobs/runs/{run['id']}"
    theirs = ours.call("PUT", path, json={"progress": 0.5}, headers={"Millhand-Agent": "pod/b"})
    assert_error(theirs, 409)
    assert_error(ours.call("PUT", path, json={"progress": 0.5, "startedAt": STOPPED}), 409)
    assert ours.get_run(run["id"]) == run
    own = ours.call(
        "PUT", path, json={"progress": 0.5, "startedAt": STARTED}, headers={"Millhand-Agent": "pod/a"}
    )
    assert own.status_code == 200


def test_a_claim_closes_the_placeholders_of_its_task(ours: Caller) -> None:
    """With the claim, in the same transaction; a later reader sees one run that counts."""
    task = ours.task()
    ours.stop(ours.claim(task["id"])["id"], "Failed")
    placeholder = ours.placeholder(task["id"])
    ours.claim(task["id"])
    closed = ours.get_run(placeholder["id"])
    assert closed["stoppedAt"] is not None
    assert closed["error"].startswith("requeued:")


def test_answers_about_runs_tell_what_the_reference_has_no_field_for(ours: Caller) -> None:
    """That claims are unique, and the state of the job, as headers."""
    task = ours.task()
    for answer in (
        ours.call("POST", "/api/jobs/runs", json=(body := claim_body(task["id"]))),
        ours.call("GET", f"/api/jobs/runs/{body['id']}"),
        ours.call("PUT", f"/api/jobs/runs/{body['id']}", json={"progress": 0.1}),
    ):
        assert answer.status_code == 200
        assert answer.headers["Millhand-Claims"] == "unique"
        assert answer.headers["Millhand-Scheduler-State"] == "active"


def test_runs_of_a_job_that_is_not_active_do_not_start(ours: Caller) -> None:
    """Paused: nothing new, and its tasks are not offered; active again: all as before."""
    task = ours.task()
    path = f"/api/jobs/{task['jobId']}"
    (job,) = ours.expect("PUT", path, json={"schedulerState": "paused"})
    assert job["schedulerState"] == "paused"
    assert ours.list("tasks", jobId=task["jobId"], runStatus="pending") == []
    assert_error(ours.call("POST", "/api/jobs/runs", json=claim_body(task["id"])), 409)
    ours.expect("PUT", path, json={"schedulerState": "active"})
    assert [t["id"] for t in ours.list("tasks", jobId=task["jobId"], runStatus="pending")] == [task["id"]]
    ours.claim(task["id"])


def test_a_cancelled_job_has_no_pending_tasks_left(ours: Caller) -> None:
    """They are closed with a stopped run; a live run is told by the header and left to its agent."""
    job_id = ours.job()["id"]
    pending, live = ours.task(job_id)["id"], ours.task(job_id)["id"]
    run = ours.claim(live)
    ours.expect("PUT", f"/api/jobs/{job_id}", json={"schedulerState": "cancelled"})
    task = ours.get_task(pending)
    assert (task["runStatus"], task["runResult"]) == ("stopped", "Failed")
    (closed,) = ours.list("runs", taskId=pending)
    assert closed["error"].startswith("cancelled:")
    answer = ours.call("PUT", f"/api/jobs/runs/{run['id']}", json={"progress": 0.5})
    assert answer.headers["Millhand-Scheduler-State"] == "cancelled"
    job = ours.get_job(job_id)
    assert (job["taskStatusPending"], job["taskStatusRunning"], job["taskStatusStopped"]) == (0, 1, 1)


def test_pending_tasks_come_by_priority_and_may_be_asked_for_by_type(ours: Caller) -> None:
    """The highest priority first, then the oldest; `type` narrows."""
    job_id = ours.job(priority=1, parameters={"p": 1})["id"]
    kind = f"kind-{uuid4()}"
    low = ours.task(job_id, type=kind)["id"]
    high = ours.task(job_id, type=kind, priority=9)["id"]
    ours.task(job_id, type="other")
    assert ours.get_job(job_id)["priority"] == 1
    listed = ours.list("tasks", jobId=job_id, type=kind, runStatus="pending")
    assert [task["id"] for task in listed] == [high, low]


def test_a_long_poll_is_answered_as_soon_as_a_task_comes(ours: Caller) -> None:
    """`Prefer: wait` holds the request; the answer says that it was honoured."""
    kind, job_id = f"kind-{uuid4()}", ours.job()["id"]
    answers: list[httpx.Response] = []
    query = {"type": kind, "runStatus": "pending"}
    headers = {"Prefer": "wait=15"}
    waiter = threading.Thread(
        target=lambda: answers.append(ours.call("GET", "/api/jobs/tasks", params=query, headers=headers))
    )
    waiter.start()
    task = ours.task(job_id, type=kind)
    waiter.join(20)
    assert [found["id"] for found in answers[0].json()["tasks"]] == [task["id"]]
    assert answers[0].headers["Preference-Applied"].startswith("wait")


def test_the_api_describes_itself(ours: Caller) -> None:
    """An OpenAPI document with all thirteen operations, and a page to browse it."""
    document = ours.expect("GET", "/openapi.json")
    operations = {
        (method, path)
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    }
    jobs = {(method, path) for method, path in operations if path.startswith("/api/jobs")}
    assert len(jobs) == 13
    assert document["openapi"].startswith("3.")
