"""The foreign server does what its switches say, so that tests over it mean something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.foreign import ForeignServer, foreign_server

RUN_ID = "11111111-1111-1111-1111-111111111111"
STARTED = "2026-01-02T03:04:05.000Z"


@contextmanager
def served(**switches: Any) -> Iterator[tuple[ForeignServer, httpx.Client]]:
    """Yield a server and a client with its token."""
    with (
        foreign_server(**switches) as server,
        httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.token}"}) as client,
    ):
        yield server, client


def run_body(task_id: str, **fields: Any) -> dict[str, Any]:
    """Return the body of a claim."""
    return {"id": RUN_ID, "taskId": task_id, "startedAt": STARTED, **fields}


@pytest.mark.parametrize("status", ["409", "422", "500", "200"])
def test_a_known_run_id_is_answered_as_the_switch_says(status: str) -> None:
    """Refused in three ways, or answered with the run that is there."""
    with served(duplicate=status) as (server, client):
        body = run_body(server.add_task())
        first = client.post("/api/jobs/runs", json=body | {"podId": "a"})
        again = client.post("/api/jobs/runs", json=body | {"podId": "b"})
        assert first.status_code == 200
        assert again.status_code == int(status)
        if status == "200":
            assert again.json() == first.json()
        assert server.runs[RUN_ID]["podId"] == "a"


def test_ids_may_be_ignored_or_overwritten() -> None:
    """A server that makes its own ids has two runs; one that overwrites shows the last writer."""
    for ids, count in (("ignore", 2), ("overwrite", 1)):
        with served(ids=ids) as (server, client):
            body = run_body(server.add_task())
            for pod_id in "ab":
                assert client.post("/api/jobs/runs", json=body | {"podId": pod_id}).status_code == 200
            assert len(server.runs) == count
            assert (RUN_ID in server.runs) is (ids == "overwrite")
            assert [run["podId"] for run in server.runs.values()][-1] == "b"


def test_lists_lag_and_objects_do_not() -> None:
    """A run is there by its id at once, and in no list until the lag has passed."""
    with served(lag_s=3600.0) as (server, client):
        body = run_body(server.add_task())
        client.post("/api/jobs/runs", json=body)
        assert client.get(f"/api/jobs/runs/{RUN_ID}").status_code == 200
        assert client.get("/api/jobs/runs").json() == {"runs": []}
        assert client.get("/api/jobs/tasks").json() == {"tasks": []}
    with served(lag_s=3600.0, lagging_gets=True) as (server, client):
        client.post("/api/jobs/runs", json=run_body(server.add_task()))
        assert client.get(f"/api/jobs/runs/{RUN_ID}").status_code == 404


def test_strict_servers_refuse_what_is_not_documented() -> None:
    """Unknown fields, and numbers where the reference has strings."""
    with served(strict_fields=True, strings=True) as (server, client):
        task_id = server.add_task()
        assert client.post("/api/jobs/runs", json=run_body(task_id, gpu=1)).status_code == 422
        assert client.post("/api/jobs/runs", json=run_body(task_id)).status_code == 200
        assert client.put(f"/api/jobs/runs/{RUN_ID}", json={"CPUTime": "1"}).status_code == 422
        assert client.put(f"/api/jobs/runs/{RUN_ID}", json={"progress": 0.5}).status_code == 422
        assert client.put(f"/api/jobs/runs/{RUN_ID}", json={"progress": "0.5"}).json()["progress"] == "0.5"


def test_answers_may_be_unpaged_wrapped_and_full_of_strings() -> None:
    """The forms in which other servers answer."""
    with served(unpaged=True, wrapped=True, numbers_as_strings=True) as (server, client):
        job_id = server.add_job()
        task_ids = [server.add_task(job_id=job_id) for _ in range(40)]
        assert len(client.get("/api/jobs/tasks", params={"perPage": 2}).json()["tasks"]) == 40
        (task,) = client.get(f"/api/jobs/tasks/{task_ids[0]}").json()
        assert task["runProgress"] == "0"
        (job,) = client.get(f"/api/jobs/{job_id}").json()
        assert job["taskCount"] == "40"
    with served() as (server, client):
        for _ in range(31):
            server.add_task()
        assert len(client.get("/api/jobs/tasks").json()["tasks"]) == 30
        assert len(client.get("/api/jobs/tasks", params={"page": 2}).json()["tasks"]) == 1


def test_a_lost_answer_was_handled_and_a_dropped_request_was_not() -> None:
    """Both look alike to the client; the second of two matching requests may be chosen."""
    with served() as (server, client):
        task_id = server.add_task()
        rule = server.lose_answer(nth=2, method="POST", path="/runs$")
        client.post("/api/jobs/runs", json=run_body(task_id))
        with pytest.raises(httpx.TransportError):
            client.post("/api/jobs/runs", json=run_body(task_id) | {"id": "second"})
        assert rule.hit.is_set()
        assert "second" in server.runs
        server.drop_request(method="POST")
        with pytest.raises(httpx.TransportError):
            client.post("/api/jobs/runs", json=run_body(task_id) | {"id": "third"})
        assert "third" not in server.runs


def test_failures_are_answered_without_being_handled_and_everything_is_recorded() -> None:
    """As a proxy in between would answer; then all is as before."""
    with served() as (server, client):
        server.fail_next(503, count=2, headers={"Retry-After": "7"})
        answers = [client.get("/api/jobs") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [503, 503, 200]
        assert answers[0].headers["Retry-After"] == "7"
        client.get("/api/jobs/tasks", params={"runStatus": "pending"})
        last = server.requests[-1]
        assert (last.method, last.path, last.query) == ("GET", "/api/jobs/tasks", {"runStatus": "pending"})
        assert len(server.requests) == 4


def test_a_stopped_run_is_not_modified() -> None:
    """The reference: "Modifies an incomplete run"; its only fitting answer is 404."""
    with served() as (server, client):
        task_id = server.add_task()
        client.post("/api/jobs/runs", json=run_body(task_id))
        stop = {"stoppedAt": "2026-01-02T03:04:06.000Z", "resultCode": "Success", "progress": 1}
        assert client.put(f"/api/jobs/runs/{RUN_ID}", json=stop).status_code == 200
        assert client.put(f"/api/jobs/runs/{RUN_ID}", json=stop).status_code == 404
        assert server.tasks[task_id]["runStatus"] == "stopped"
        server.wait_until(lambda: len(server.requests) == 3)
