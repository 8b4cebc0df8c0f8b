"""Bodies that are refused: 422 with the documented code and the name of the field."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.caller import STARTED, Caller
from tests.contract.reference import ERRORS, NOWHERE, assert_error

POSTS = pytest.mark.parametrize(("path", "code"), ERRORS.items())
TOO_LARGE_BYTES = 12 << 20

WRONG = [
    ("/api/jobs", "title", 5),
    ("/api/jobs", "type", ["x"]),
    ("/api/jobs", "id", {}),
    ("/api/jobs", "schedulerState", 1),
    ("/api/jobs", "parameters", "text"),
    ("/api/jobs/tasks", "title", False),
    ("/api/jobs/tasks", "type", 1),
    ("/api/jobs/tasks", "parameters", [1]),
    ("/api/jobs/tasks", "jobId", 7),
    ("/api/jobs/runs", "taskId", 7),
    ("/api/jobs/runs", "startedAt", "yesterday"),
    ("/api/jobs/runs", "startedAt", 12),
    ("/api/jobs/runs", "progress", "half"),
    ("/api/jobs/runs", "progress", {}),
    ("/api/jobs/runs", "nodeCPUs", "many"),
    ("/api/jobs/runs", "nodeRAM", 10**40),
    ("/api/jobs/runs", "limitRAM", "1e40"),
    ("/api/jobs/runs", "requestRAM", "nan"),
    ("/api/jobs/runs", "preemptible", "perhaps"),
    ("/api/jobs/runs", "podId", 3.5),
    ("/api/jobs/runs", "zone", []),
]

WRONG_PUTS = [
    ("stoppedAt", "never"),
    ("resultCode", 0),
    ("error", {"a": 1}),
    ("progress", []),
    ("results", 5),
    ("machine", [1]),
    ("CPUTime", "long"),
    ("RAMUsage", -1),
]


def right_body(api: Caller, path: str) -> dict[str, Any]:
    """Return a body that the path takes."""
    if path == "/api/jobs":
        return {"type": "noop"}
    if path == "/api/jobs/tasks":
        return {"type": "noop", "jobId": api.job()["id"]}
    return {"taskId": api.task()["id"], "startedAt": STARTED}


@pytest.mark.parametrize(("path", "field", "value"), WRONG)
def test_a_field_of_a_wrong_type_is_named(ours: Caller, path: str, field: str, value: object) -> None:
    """422, the documented code, and the field in the message; nothing was created."""
    body = right_body(ours, path)
    assert ours.call("POST", path, json=right_body(ours, path)).status_code == 200
    message = assert_error(ours.call("POST", path, json=body | {field: value}), 422, ERRORS[path])
    assert field in message


@pytest.mark.parametrize(("field", "value"), WRONG_PUTS)
def test_a_wrong_field_in_a_report_is_named_and_changes_nothing(
    ours: Caller, field: str, value: object
) -> None:
    """A PUT is taken whole or not at all."""
    run = ours.claim(ours.task()["id"])
    answer = ours.call("PUT", f"/api/jobs/runs/{run['id']}", json={"progress": 0.9} | {field: value})
    assert field in assert_error(answer, 422)
    assert ours.get_run(run["id"]) == run


@POSTS
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"{" * 9_000, b'{"a": NaN}']
)
def test_a_body_that_is_no_object_is_refused(ours: Caller, path: str, code: str, content: bytes) -> None:
    """Whatever bytes come: 422, never a server error."""
    assert_error(ours.call("POST", path, content=content), 422, code)


@POSTS
def test_a_body_that_is_too_large_is_refused(ours: Caller, path: str, code: str) -> None:
    """The answer arrives though the body was not wanted, and the server goes on."""
    content = b'{"title": "' + b"x" * TOO_LARGE_BYTES + b'"}'
    message = assert_error(ours.call("POST", path, content=content), 413, "body_too_large")
    assert "larg" in message
    assert ours.call("POST", path, json=right_body(ours, path)).status_code == 200


def test_deep_nesting_is_refused_or_kept_but_never_a_server_error(ours: Caller) -> None:
    """A body may be nested as deep as it likes; the server goes on."""
    run = ours.claim(ours.task()["id"])
    for depth in (50, 5_000):
        content = b'{"results": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
        assert ours.call("PUT", f"/api/jobs/runs/{run['id']}", content=content).status_code in (200, 422)
    ours.report(run["id"], progress=0.5)


def test_null_means_nothing_was_said(ours: Caller) -> None:
    """A report full of nulls takes nothing back."""
    run = ours.claim(ours.task()["id"], progress=0.25)
    names = ("startedAt", "stoppedAt", "resultCode", "error", "progress", "results", "machine", "CPUTime")
    after = ours.report(run["id"], **dict.fromkeys(names))
    assert after | {"updatedAt": None} == run | {"updatedAt": None}


def test_a_task_needs_a_job_that_is_there(api: Caller) -> None:
    """Without or with an unknown `jobId`: `create_task_error`."""
    assert_error(api.call("POST", "/api/jobs/tasks", json={"type": "x"}), 422, "create_task_error")
    body = {"type": "x", "jobId": NOWHERE}
    assert_error(api.call("POST", "/api/jobs/tasks", json=body), 422, "create_task_error")


def test_a_run_needs_a_task_that_is_there(api: Caller) -> None:
    """Without or with an unknown `taskId`: `create_run_error`."""
    assert_error(api.call("POST", "/api/jobs/runs", json={}), 422, "create_run_error")
    body = {"taskId": NOWHERE, "startedAt": STARTED}
    assert_error(api.call("POST", "/api/jobs/runs", json=body), 422, "create_run_error")


def test_a_run_of_a_task_in_another_job_is_refused(ours: Caller) -> None:
    """`jobId` must be the task's."""
    body = {"taskId": ours.task()["id"], "jobId": ours.job()["id"], "startedAt": STARTED}
    assert_error(ours.call("POST", "/api/jobs/runs", json=body), 422, "create_run_error")


def test_unknown_fields_do_no_harm(api: Caller) -> None:
    """Clients may be newer than the server."""
    assert api.job(nonsense={"a": 1})["title"] == "job"
    task = api.task(image="img:1", cmd=["a"], nonsense=[1])
    assert api.get_task(task["id"])["image"] == "img:1"
    assert api.claim(task["id"], nonsense=1)["taskId"] == task["id"]


def test_paths_and_methods_that_do_not_exist_are_errors_of_the_same_shape(ours: Caller) -> None:
    """404 or 405, with the error body."""
    assert_error(ours.call("GET", "/api/nothing"), 404)
    assert_error(ours.call("DELETE", "/api/jobs/runs"), 405)
