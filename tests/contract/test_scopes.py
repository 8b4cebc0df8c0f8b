"""Scopes and organisations, over every operation: what a token may do, and that it sees nobody else's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.http.operation import Operation
from server.routes.operations import OPERATIONS
from server.testing import RunningServer
from server.tokens import ADMIN, READ, SCOPES, SUBMIT, WORK
from tests.contract.caller import STARTED, Caller
from tests.contract.conftest import calling
from tests.contract.reference import NOWHERE, assert_error

# What the documentation says that each operation needs.
NEEDED: Final = {
    "list_jobs": READ, "get_job": READ, "create_job": SUBMIT, "update_job": SUBMIT,
    "list_tasks": READ, "get_task": READ, "create_task": SUBMIT, "update_task": SUBMIT,
    "list_runs": READ, "get_run": READ, "create_run": WORK, "update_run": WORK,
    "list_reports": READ, "list_agents": READ, "announce_agent": WORK, "write_batch": WORK,
    "offer_run": WORK,
}  # fmt: skip
MARK: Final = "of-ours-alone"  # stands in everything that the first organisation has


def path_of(operation: Operation, ids: dict[str, str]) -> str:
    """Return the path of an operation, with an id of ours where it wants one."""
    for name, id_ in ids.items():
        path = operation.path.replace(f"{{{name}}}", id_)
        if path != operation.path:
            return path
    return operation.path


def test_every_operation_says_which_scope_it_needs() -> None:
    """A new endpoint cannot be forgotten; the table is that of the documentation."""
    assert {operation.name: operation.scope for operation in OPERATIONS} == NEEDED


@pytest.mark.parametrize("scope", [*SCOPES, "unheard-of"])
def test_a_scope_opens_its_operations_and_no_other(our_server: RunningServer, scope: str) -> None:
    """403 `forbidden` for what it does not allow; never for what it does."""
    token = our_server.new_token("default", frozenset({scope}))
    ids = dict.fromkeys(("jobId", "taskId", "runId", "agentId"), NOWHERE)
    with calling("ours", our_server.url, token) as caller:
        for operation in OPERATIONS:
            body: dict[str, str] | None = {} if operation.body else None
            answer = caller.call(operation.method, path_of(operation, ids), json=body)
            everybody = SCOPES if operation.scope == READ else ()
            if scope in (ADMIN, operation.scope, *everybody):
                assert answer.status_code in (200, 404, 422), operation.name
            else:
                assert operation.scope in assert_error(answer, 403, "forbidden")


def test_a_token_with_two_scopes_may_do_what_either_allows(our_server: RunningServer) -> None:
    """And what neither allows is refused still."""
    token = our_server.new_token("default", frozenset({READ, WORK}))
    with calling("ours", our_server.url, token) as caller:
        assert caller.call("POST", "/api/jobs/runs", json={}).status_code == 422
        assert_error(caller.call("POST", "/api/jobs", json={}), 403, "forbidden")


def test_an_agents_token_claims_and_reports_and_gives_no_work(
    our_server: RunningServer, ours: Caller
) -> None:
    """The life of a run, by a token that could make no job."""
    task = ours.task()
    with calling("ours", our_server.url, our_server.new_token("default", frozenset({WORK}))) as agent:
        assert task["id"] in {one["id"] for one in agent.list("tasks", runStatus="pending", perPage=100)}
        run = agent.claim(task["id"])
        agent.stop(run["id"])
        for path, body in (("/api/jobs", {}), ("/api/jobs/tasks", {"jobId": task["jobId"], "type": "x"})):
            assert_error(agent.call("POST", path, json=body), 403, "forbidden")
        assert_error(agent.call("PUT", f"/api/jobs/{task['jobId']}", json={"title": "x"}), 403, "forbidden")
    assert ours.get_task(task["id"])["runStatus"] == "stopped"


# ---- one organisation and another -----------------------------------------------------------------


@pytest.fixture(scope="module")
def belongings(ours: Caller) -> dict[str, str]:
    """Make a job, a task that runs and one that waits; return the ids, and the organisation's."""
    marked = {"title": MARK, "parameters": {"secret": MARK}}
    job = ours.job(**marked)
    task = ours.task(job["id"], **marked)
    ours.task(job["id"], **marked)
    run = ours.claim(task["id"], machine={"name": MARK}, podId=MARK, createdBy=MARK)
    return {"jobId": job["id"], "taskId": task["id"], "runId": run["id"], "orgId": job["orgId"]}


def sets_of_scopes() -> list[frozenset[str]]:
    """Return each scope, and each two of them."""
    return [frozenset(one) for n in (1, 2) for one in itertools.combinations(SCOPES, n)]


@pytest.fixture(scope="module")
def strangers(our_server: RunningServer) -> Iterator[list[Caller]]:
    """Callers of other organisations, one for each set of scopes."""
    callers = [
        Caller("ours", our_server.url, our_server.new_token(f"strangers-{at % 3}", scopes))
        for at, scopes in enumerate(sets_of_scopes())
    ]
    yield callers
    for caller in callers:
        caller.http.close()


def seen(ours: Caller, ids: dict[str, str]) -> list[Any]:
    """Return all that the first organisation has of the marked job."""
    return [
        ours.get_job(ids["jobId"]),
        ours.list("tasks", jobId=ids["jobId"]),
        ours.list("runs", jobId=ids["jobId"]),
        ours.list("reports", orgId=ids["orgId"]),
    ]


IDS = st.sampled_from(["jobId", "taskId", "runId", "orgId"])
VALUES = st.one_of(IDS, st.sampled_from(["", NOWHERE, "active", "cancelled", STARTED, "Success", "%", "*"]))
FIELD_NAMES: Final = (
    "id", "jobId", "taskId", "orgId", "type", "title", "schedulerState", "startedAt", "stoppedAt",
    "resultCode", "progress", "podId", "priority", "runStatus", "updatedAt",
)  # fmt: skip
FIELDS = st.dictionaries(
    st.sampled_from(FIELD_NAMES),
    VALUES,
    max_size=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    operation=st.sampled_from(OPERATIONS),
    at=st.integers(0, 100),
    path_id=IDS,
    body=FIELDS,
    query=st.dictionaries(st.sampled_from(["orgId", "jobId", "taskId", "sort", "runStatus"]), VALUES),
    agent=st.booleans(),
)
def test_no_request_of_a_stranger_shows_or_changes_what_is_ours(
    *, ours: Caller, belongings: dict[str, str], strangers: list[Caller],
    operation: Operation, at: int, path_id: str, body: dict[str, str], query: dict[str, str], agent: bool,
) -> None:  # fmt: skip
    """Whatever the endpoint, the scopes, and the ids of ours in path, query and body."""
    before = seen(ours, belongings)
    stranger = strangers[at % len(strangers)]
    last = operation.path.rpartition("/")[2].strip("{}")
    ids = {last: belongings[path_id]} if operation.path.endswith("}") else {}
    answer = stranger.call(
        operation.method,
        path_of(operation, ids),
        params={name: belongings.get(value, value) for name, value in query.items()},
        json={name: belongings.get(value, value) for name, value in body.items()} if operation.body else None,
        headers={"Millhand-Agent": MARK} if agent else {},
    )
    check_stranger(answer)
    assert seen(ours, belongings) == before


def check_stranger(answer: httpx.Response) -> None:
    """See that an answer holds nothing that is ours."""
    assert answer.status_code in (200, 403, 404, 409, 422), answer.text
    assert MARK not in answer.text
    assert MARK not in str(answer.headers)


def test_what_is_ours_can_be_seen_by_ourselves(ours: Caller, belongings: dict[str, str]) -> None:
    """Else the test above would compare nothing with nothing."""
    job, tasks, runs, reports = seen(ours, belongings)
    assert all(MARK in str(part) for part in (job, tasks, runs, reports))
    assert (len(tasks), len(runs)) == (2, 1)


def test_writes_of_a_stranger_that_come_together_change_nothing_of_ours(
    ours: Caller, belongings: dict[str, str], strangers: list[Caller]
) -> None:
    """As those by themselves do not: each is answered as if there was nothing, or all are refused."""
    before = seen(ours, belongings)
    claim = {"id": belongings["runId"], "taskId": belongings["taskId"], "startedAt": STARTED, "podId": MARK}
    writes = [
        {"method": "PUT", "path": f"/api/jobs/runs/{belongings['runId']}", "body": {"stoppedAt": STARTED}},
        {"method": "POST", "path": "/api/jobs/runs", "body": claim},
        {"method": "POST", "path": "/api/jobs/runs", "body": claim | {"orgId": belongings["orgId"]}},
    ]
    for stranger in strangers:
        answer = stranger.call(
            "POST", "/api/batch", json={"writes": writes}, headers={"Millhand-Agent": MARK}
        )
        assert MARK not in answer.text
        if answer.status_code == 200:
            assert {one["status"] for one in answer.json()["answers"]} <= {403, 404, 422}
        else:
            assert_error(answer, 403, "forbidden")
    assert seen(ours, belongings) == before


def test_a_stranger_is_told_that_it_is_not_there_and_never_that_it_is_forbidden(
    our_server: RunningServer, belongings: dict[str, str]
) -> None:
    """404 for every object of ours, to every token that may use the operation at all.

    To organisations that have nothing: an id of ours names another thing in one that has made such a thing.
    """
    for scopes in sets_of_scopes():
        with calling("ours", our_server.url, our_server.new_token("who-has-nothing", scopes)) as stranger:
            for kind, path in (("job", ""), ("task", "/tasks"), ("run", "/runs")):
                answer = stranger.call("GET", f"/api/jobs{path}/{belongings[f'{kind}Id']}")
                assert_error(answer, 404, f"{kind}_not_found")


def test_an_id_names_a_thing_of_its_organisation(
    our_server: RunningServer, ours: Caller, belongings: dict[str, str]
) -> None:
    """Somebody else may give a thing the id of one of ours, and sees their own by it."""
    before = seen(ours, belongings)
    with calling("ours", our_server.url, our_server.new_token("who-has-the-same-id")) as other:
        assert other.job(id=belongings["jobId"], title="theirs")["title"] == "theirs"
        assert other.get_job(belongings["jobId"])["title"] == "theirs"
    assert seen(ours, belongings) == before
