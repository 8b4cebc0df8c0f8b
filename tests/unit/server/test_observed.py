"""What is told of requests: their ids, the audit log, the access log; and what never is."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from structlog.testing import capture_logs

from server.audit import Audit, AuditError
from server.http.peers import network
from server.http.seen import Seen
from server.testing import TOKEN, RunningServer, running_server
from tests.unit.server.world import FakeClock
from worker.clock import SystemClock

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
LIMIT_S = 30.0  # a bound for a hang
SECRET = "a-secret-of-a-body"


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[tuple[RunningServer, Path]]:
    """Serve with an audit log and a proxy to believe."""
    path = tmp_path / "audit.log"
    audit = Audit(str(path), SystemClock())
    with running_server(audit=audit, trusted_proxies=[network("127.0.0.1")]) as server:
        yield server, path
    audit.close()


def entries(path: Path, least: int = 1) -> list[dict[str, Any]]:
    """Return the lines of an audit log; the last one is written when its answer is on its way already."""
    give_up_mono = time.monotonic() + LIMIT_S
    while len(path.read_text().splitlines()) < least and time.monotonic() < give_up_mono:
        time.sleep(0.01)
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_write_has_one_line_that_says_who_what_and_the_answer(
    audited: tuple[RunningServer, Path],
) -> None:
    """Also where ids were drawn by the server; never what a body held, nor a token."""
    server, path = audited
    with httpx.Client(base_url=server.url, headers=HEADERS) as client:
        client.headers["X-Forwarded-For"] = "192.0.2.7"
        job = client.post("/api/jobs", json={"type": "x", "title": SECRET}).json()[0]["id"]
        task = client.post("/api/jobs/tasks", json={"jobId": job, "parameters": {"s": SECRET}}).json()["id"]
        claim = {"taskId": task, "startedAt": "2026-01-02T03:04:05.678Z", "podId": SECRET}
        run = client.post("/api/jobs/runs", json=claim, headers={"X-Request-Id": "one"}).json()["id"]
        client.put(f"/api/jobs/runs/{run}", json={"error": SECRET})
        client.put("/api/jobs/nothing", json={"title": SECRET})
        client.post("/api/jobs/runs", json=claim | {"podId": "other"}, params={"bearer_token": TOKEN})
        client.get(f"/api/jobs/{job}")
    told = entries(path)
    assert [(one["operation"], one["status"], one["ids"]) for one in told] == [
        ("create_job", 200, {"jobId": job}),
        ("create_task", 200, {"jobId": job, "taskId": task}),
        ("create_run", 200, {"taskId": task, "runId": run}),
        ("update_run", 200, {"runId": run}),
        ("update_job", 404, {"jobId": "nothing"}),
        ("create_run", 409, {"taskId": task}),
    ]
    assert {one["from"] for one in told} == {"192.0.2.7"}
    assert {one["token"] for one in told} == {"the server's settings"}
    assert told[2]["requestId"] == "one"
    for secret in (SECRET, TOKEN):
        assert secret not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_whoever_has_no_token_cannot_fill_the_audit_log(audited: tuple[RunningServer, Path]) -> None:
    """It tells of those who are known."""
    server, path = audited
    assert httpx.post(f"{server.url}/api/jobs", json={}).status_code == 403
    assert httpx.post(f"{server.url}/api/jobs?bearer_token=x", json={}).status_code == 401
    assert entries(path, 0) == []


def test_a_token_without_the_scope_is_told_of(audited: tuple[RunningServer, Path]) -> None:
    """A refused write is one line, too."""
    server, path = audited
    token = server.new_token("default", frozenset({"read"}))
    httpx.put(f"{server.url}/api/jobs/x", json={}, headers={"Authorization": f"Bearer {token}"})
    (told,) = entries(path)
    assert (told["operation"], told["status"], told["ids"]) == ("update_job", 403, {"jobId": "x"})


def test_a_full_disk_under_the_audit_log_stops_no_work() -> None:
    """It is logged once a minute, and counted."""
    clock = FakeClock()
    audit = Audit("/dev/full", clock)
    with capture_logs() as logs:
        for _ in range(3):
            audit.write(Seen(request_id="x"), "POST", None)
        clock.advance(61)
        audit.write(Seen(request_id="x"), "POST", None)
    audit.close()
    assert audit.lost == 4
    assert [(one["event"], one["lines_lost"]) for one in logs] == [("audit.failed", 1), ("audit.failed", 4)]


def test_an_audit_log_goes_on_in_a_new_file_after_it_was_moved(tmp_path: Path) -> None:
    """And in the old one where the new one cannot be made."""
    path = tmp_path / "logs" / "audit.log"
    with pytest.raises(AuditError, match="does its folder exist"):
        Audit(str(path), FakeClock())
    path.parent.mkdir()
    audit = Audit(str(path), FakeClock())
    audit.write(Seen(request_id="1"), "POST", None)
    old = path.rename(tmp_path / "old")
    audit.reopen()
    audit.write(Seen(request_id="2"), "POST", None)
    assert [one["requestId"] for one in entries(path)] == ["2"]
    path.unlink()
    path.parent.rmdir()
    with capture_logs() as logs:
        audit.reopen()
    assert logs[0]["event"] == "audit.not_reopened"
    audit.write(Seen(request_id="3"), "POST", None)
    audit.close()
    assert [one["requestId"] for one in entries(old)] == ["1"]


@pytest.mark.parametrize(
    ("given", "is_taken"),
    [
        ("run-17.a_B", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("a b", False),
        ('a"b', False),
        ("<script>", False),
        ("ü", False),
    ],
)
def test_a_sane_id_of_a_request_comes_back_and_any_other_is_replaced(given: str, is_taken: bool) -> None:
    """A log line can hold it; every answer has one, also those of errors and pages."""
    with running_server() as server:
        for path in ("/api/jobs", "/healthz", "/nowhere"):
            answer = httpx.get(f"{server.url}{path}", headers=[(b"X-Request-Id", given.encode())])
            assert (answer.headers["x-request-id"] == given) is is_taken
            assert len(answer.headers["x-request-id"]) >= 16 or is_taken


def test_the_access_log_tells_of_each_request_and_shows_no_query() -> None:
    """Status, size, time, whose token; the query may hold a token."""
    # Logs are captured for the thread of the server too: the configuration is the process's.
    before = structlog.get_config()["processors"]
    told = list[dict[str, Any]]()

    def keep(_logger: Any, _method: str, event: Any) -> Any:
        told.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep])
    try:
        with running_server(access_log=True) as server:
            httpx.get(f"{server.url}/api/jobs?bearer_token={TOKEN}&page=1", headers={"X-Request-Id": "one"})
            httpx.get(f"{server.url}/api/jobs/nothing?bearer_token=wrong")
            httpx.get(f"{server.url}/docs")
    finally:
        structlog.configure(processors=before)
    lines = [one for one in told if one["event"] == "request.served"]
    assert [(one["path"], one["status"], one["operation"]) for one in lines] == [
        ("/api/jobs", 200, "list_jobs"),
        ("/api/jobs/nothing", 401, "get_job"),
        ("/docs", 200, None),
    ]
    assert lines[0]["request_id"] == "one"
    assert lines[0]["token_id"] is not None
    assert (lines[0]["peer"], lines[0]["bytes"]) == ("127.0.0.1", len(b'{"jobs":[]}'))
    assert all(one["duration_ms"] > 0 for one in lines)
    assert TOKEN not in str(told)
    assert "wrong" not in str(lines)


def test_no_answer_lets_pages_of_others_read_it() -> None:
    """No Access-Control header, ever; no sniffing, no keeping on the way; pages stand in no frame."""
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    with running_server() as server:
        for method, path in (
            ("GET", "/api/jobs"), ("OPTIONS", "/api/jobs"), ("OPTIONS", "/"), ("POST", "/api/jobs"),
            ("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/healthz"), ("GET", "/nowhere"),
        ):  # fmt: skip
            answer = httpx.request(method, f"{server.url}{path}", headers={**HEADERS, **asked})
            assert not [name for name in answer.headers if name.startswith("access-control")], path
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
        page = httpx.get(f"{server.url}/docs")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["referrer-policy"] == "no-referrer"


def test_stderr_is_an_audit_log_too(capfd: pytest.CaptureFixture[str]) -> None:
    """For service managers that keep it; it is not closed with it."""
    audit = Audit("-", FakeClock())
    audit.write(Seen(request_id="1"), "POST", None)
    audit.reopen()
    audit.close()
    os.write(2, b"still open\n")
    first, second = capfd.readouterr().err.splitlines()
    assert json.loads(first)["requestId"] == "1"
    assert second == "still open"


def test_a_token_that_asks_too_often_is_told_when_to_come_again() -> None:
    """429 with Retry-After over the wire; another token of the organisation is not held up."""
    with running_server(rate_per_s=0.1) as server:
        other = {"Authorization": f"Bearer {server.new_token('default')}"}
        url = f"{server.url}/api/jobs"
        assert httpx.get(url, headers=HEADERS).status_code == 200
        answer = httpx.get(url, headers=HEADERS)
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limited")
        assert 1 <= int(answer.headers["retry-after"]) <= 10
        assert httpx.get(url, headers=other).status_code == 200


def test_more_than_can_be_worked_on_is_refused_at_once_with_when_to_come_again() -> None:
    """503 with Retry-After; nothing was done."""
    with running_server(most_requests=1) as server:
        server.app.load.begin()
        answer = httpx.post(f"{server.url}/api/jobs", headers=HEADERS, json={})
        server.app.load.end()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        assert answer.headers["retry-after"] == "1"
        assert httpx.get(f"{server.url}/api/jobs", headers=HEADERS).json() == {"jobs": []}
