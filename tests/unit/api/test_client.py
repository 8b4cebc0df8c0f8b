"""The client: what it sends, and what answers mean."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.agent.stub_api import Answer, StubApi, error
from worker.api.client import JobsApi
from worker.api.errors import (
    ApiError,
    Conflict,
    Forbidden,
    NotFound,
    RateLimited,
    Refused,
    ServerError,
    TransportError,
    Unauthorized,
)
from worker.api.models import Job, Run, Task
from worker.api.strings import stringly
from worker.api.token import FileToken, FixedToken
from worker.config import ApiConfig


def ask(answer: Answer, call: Callable[[JobsApi], Awaitable[Any]]) -> Any:
    """Make one request against a stub that answers so."""

    async def main() -> Any:
        return await call(StubApi(lambda _: answer).api)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, TransportError), (400, Refused), (401, Unauthorized), (403, Forbidden), (404, NotFound),
        (409, Conflict), (410, NotFound), (413, Refused), (422, Refused), (429, RateLimited),
        (500, ServerError), (502, ServerError), (503, ServerError), (599, ServerError),
    ],
)  # fmt: skip
def test_every_status_has_a_meaning(status: int, kind: type[ApiError]) -> None:
    """Unknown, or rejected; and whether the API itself said it."""
    with pytest.raises(kind) as caught:
        ask(
            (status, error("some_code"), {"location": "http://elsewhere.test/"}), lambda api: api.get_run("r")
        )
    assert caught.value.status == status
    with pytest.raises(kind) as caught:
        ask((status, "<html>"), lambda api: api.get_run("r"))
    assert not caught.value.is_documented


def test_messages_hold_neither_token_nor_body() -> None:
    """A body may hold a secret of somebody else."""
    with pytest.raises(ApiError) as caught:
        ask((500, {"secret": "hunter2"}), lambda api: api.get_run("r"))
    assert "hunter2" not in str(caught.value)
    assert "secret-token" not in str(caught.value)
    assert "GET /api/jobs/runs/r" in str(caught.value)


@pytest.mark.parametrize("wrap", [lambda raw: raw, lambda raw: [raw]])
def test_an_object_may_come_bare_or_in_a_list_of_one(wrap: Callable[[Any], Any]) -> None:
    """The reference shows both."""
    job: Job = ask(
        (200, wrap({"id": "j", "taskCount": "3", "new": {"kept": 1}})), lambda api: api.get_job("j")
    )
    assert (job.id, job.task_count) == ("j", 3)
    assert job.raw["new"] == {"kept": 1}


@pytest.mark.parametrize(
    "body", [[], [{"id": "a"}, {"id": "b"}], "text", None, {}, {"id": None}, {"error": {}}]
)
def test_an_answer_without_the_object_is_no_answer(body: Any) -> None:
    """A 2xx that cannot be read tells nothing about what was done."""
    with pytest.raises(TransportError):
        ask((200, body), lambda api: api.get_run("r"))


def test_numbers_may_come_as_strings_and_nulls_everywhere() -> None:
    """Null and absent both mean unknown; so does what cannot be read."""
    raw = {"id": 7, "progress": "0.25", "startedAt": "2019-12-17T19:21:13.235Z", "results": None, "podId": ""}
    run: Run = ask((200, raw), lambda api: api.get_run("r"))
    assert (run.id, run.progress, run.results, run.pod_id, run.stopped_at) == ("7", 0.25, {}, None, None)
    assert run.is_live
    task: Task = ask((200, {"id": "t", "parameters": [], "priority": "high"}), lambda api: api.get_task("t"))
    assert (task.parameters, task.priority, task.run_status) == ({}, None, None)


def test_a_fault_below_http_is_a_transport_error() -> None:
    """Nobody knows whether the request was done, whatever httpx calls it."""
    for fault in (httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x")):
        with pytest.raises(TransportError):
            ask(fault, lambda api: api.create_run({"id": "r"}))


def test_ids_are_one_segment_of_the_path() -> None:
    """An id of a foreign server may hold anything."""
    stub = StubApi(lambda _: (200, {"id": "x"}))
    asyncio.run(stub.api.get_run("../jobs?x=1#y"))
    assert stub.requests[0].path == "/api/jobs/runs/../jobs?x=1#y"


def test_what_is_unknown_is_not_sent() -> None:
    """Null fields are left out, and the organisation is named once."""

    async def main() -> dict[str, Any]:
        stub = StubApi(lambda _: (200, {"id": "x"}))
        stub.api._org_id = "o1"
        await stub.api.create_run({"id": "x", "zone": None, "nodeCPUs": 2})
        await stub.api.list_runs(task_id="t")
        assert stub.requests[1].query == {"orgId": "o1", "taskId": "t", "page": "1", "perPage": "30"}
        return stub.requests[0].body

    assert asyncio.run(main()) == {"orgId": "o1", "id": "x", "nodeCPUs": 2}


def test_wire_strings_sends_what_the_reference_types() -> None:
    """Every field a string, objects as JSON text; what the reference types as a number stays one."""
    body = {"startedAt": "x", "progress": 0.5, "results": {"a": [1]}, "preemptible": False, "zone": None}
    assert stringly(body, frozenset()) == {
        "startedAt": "x", "progress": "0.5", "results": '{"a":[1]}', "preemptible": "false",
    }  # fmt: skip
    assert stringly(body, {"progress"})["progress"] == 0.5


def test_a_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """And the last good token stays while the file is away or empty."""
    path = tmp_path / "token"
    source = FileToken(path)
    assert source.current() is None
    path.write_text(" one\n")
    assert source.current() == "one"
    path.write_text("other\n")
    assert source.current() == "other"
    path.write_text("")
    assert source.current() == "other"
    for broken in ("two\nlines", "t\u00f6ken", "nul\0"):
        path.write_text(broken)
        assert source.current() == "other"
    path.unlink()
    assert source.current() == "other"


@pytest.mark.parametrize("token", ["two\nlines", "t\u00f6ken"])
def test_a_token_that_cannot_be_sent_is_refused_at_the_start(token: str) -> None:
    """Not at the first request, in the middle of the agent; and the message does not show it."""
    with pytest.raises(ValueError, match="token") as caught:
        FixedToken(token)
    assert token not in str(caught.value)


@pytest.mark.parametrize("status", [408, 425])
def test_a_time_out_that_a_proxy_tells_is_no_refusal(status: int) -> None:
    """Nobody knows whether the API has seen the request: it is made again."""
    stub = StubApi(lambda _: (status, {}))
    with pytest.raises(TransportError):
        asyncio.run(stub.api.get_run("r"))


def test_settings_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    """Before anything is sent."""
    from worker.api.transport import build_transport

    for config, name in (
        (ApiConfig(url="https://api.test", ca_file=tmp_path / "none.pem"), "ca_file"),
        (ApiConfig(url="HTTPS://api.test", client_cert=tmp_path / "none.pem"), "client_cert"),
    ):
        with pytest.raises(ValueError, match=name):
            build_transport(config)


def test_the_word_for_a_proxy_goes_to_no_api_behind_tls() -> None:
    """In whatever letters its URL is written; without TLS the proxy reads it from the request."""
    from worker.api.transport import headers_of

    proxy = "http://user:word@proxy.test"
    for url, is_told in (("http://api.test", True), ("https://api.test", False), ("HTTPS://api.test", False)):
        headers = {name.lower() for name in headers_of(ApiConfig(url=url, proxy=proxy))}
        assert ("proxy-authorization" in headers) == is_told
