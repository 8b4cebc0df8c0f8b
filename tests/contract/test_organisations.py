"""One organisation never sees another's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server.testing import RunningServer
from tests.contract.caller import STARTED, Caller
from tests.contract.conftest import calling
from tests.contract.reference import assert_error


@pytest.fixture(scope="module")
def stranger(our_server: RunningServer) -> Iterator[Caller]:
    """A caller whose token belongs to another organisation of the same server."""
    with calling("ours", our_server.url, our_server.new_token("strangers")) as caller:
        yield caller


def test_lists_of_another_organisation_are_not_seen(ours: Caller, stranger: Caller) -> None:
    """Neither plainly, nor by naming the organisation, the job or the task."""
    run = ours.claim(ours.task()["id"])
    for kind in ("jobs", "tasks", "runs", "reports"):
        assert stranger.list(kind, orgId=run["orgId"]) == [], kind
    for kind in ("tasks", "runs"):
        assert stranger.list(kind, jobId=run["jobId"]) == [], kind
    assert stranger.list("runs", taskId=run["taskId"]) == []
    assert all(job["orgId"] != run["orgId"] for job in stranger.list("jobs", perPage=100))


def test_objects_of_another_organisation_are_not_there(ours: Caller, stranger: Caller) -> None:
    """404, exactly as for an id that nothing has; nothing is changed."""
    run = ours.claim(ours.task()["id"])
    for kind, id_ in (("job", run["jobId"]), ("task", run["taskId"]), ("run", run["id"])):
        path = f"/api/jobs/{id_}" if kind == "job" else f"/api/jobs/{kind}s/{id_}"
        assert_error(stranger.call("GET", path), 404, f"{kind}_not_found")
        assert_error(stranger.call("PUT", path, json={}), 404, f"{kind}_not_found")
    assert ours.get_run(run["id"]) == run


def test_nothing_is_created_in_another_organisation(ours: Caller, stranger: Caller) -> None:
    """Neither below a foreign job or task, nor by naming the organisation."""
    task = ours.task()
    body = {"jobId": task["jobId"], "type": "x"}
    assert_error(stranger.call("POST", "/api/jobs/tasks", json=body), 422, "create_task_error")
    claim = {"taskId": task["id"], "startedAt": STARTED}
    assert_error(stranger.call("POST", "/api/jobs/runs", json=claim), 422, "create_run_error")
    answer = stranger.call("POST", "/api/jobs", json={"type": "x", "orgId": task["orgId"]})
    assert answer.status_code in (200, 403, 422)
    if answer.status_code == 200:
        assert answer.json()[0]["orgId"] != task["orgId"]
    assert ours.get_task(task["id"])["runStatus"] == "pending"


def test_the_same_id_in_two_organisations_is_two_things(ours: Caller, stranger: Caller) -> None:
    """An id tells nothing about what others have."""
    job = ours.job(title="ours")
    theirs = stranger.job(id=job["id"], title="theirs")
    assert theirs["title"] == "theirs"
    assert ours.get_job(job["id"])["title"] == "ours"


def test_a_token_that_may_only_read_changes_nothing(our_server: RunningServer, ours: Caller) -> None:
    """403 for every write, 200 for every read of its organisation."""
    token = our_server.new_token("readers", frozenset({"read"}))
    with calling("ours", our_server.url, token) as reader:
        assert reader.list("jobs") == []
        for method, path in (("POST", "/api/jobs"), ("PUT", f"/api/jobs/{ours.job()['id']}")):
            assert_error(reader.call(method, path, json={}), 403, "forbidden")
        assert reader.list("jobs") == []
