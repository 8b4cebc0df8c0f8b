"""The server over a real socket: tokens, waiting, documents, starting and stopping."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.serve import ServeConfig, run
from server.store.commands import CreateToken
from server.store.refusal import DatabaseError
from server.testing import RunningServer, running_server
from server.tokens import READ, hash_token, new_token
from tests.unit.server.world import LIMIT_S, FakeClock, rows


@pytest.fixture
def server() -> Iterator[RunningServer]:
    """Serve from memory."""
    with running_server() as running:
        yield running


def get(server: RunningServer, path: str, token: str | None = None, **options: Any) -> httpx.Response:
    """Send a GET with a bearer token."""
    headers = {"Authorization": f"Bearer {token or server.token}", **options.pop("headers", {})}
    return httpx.get(server.url + path, headers=headers, timeout=LIMIT_S, **options)


def post(server: RunningServer, path: str, body: object) -> Any:
    """Send a POST that must succeed and return its body."""
    headers = {"Authorization": f"Bearer {server.token}"}
    answer = httpx.post(server.url + path, json=body, headers=headers, timeout=LIMIT_S)
    assert answer.status_code == 200, answer.text
    return answer.json()


def wait_for_line(server: RunningServer, waiters: int) -> None:
    """Return once so many clients wait for tasks."""

    async def reached() -> None:
        async with asyncio.timeout(LIMIT_S):
            while server.app.desk._line.length(server.org_id) != waiters:  # noqa: ASYNC110 - not an event
                await asyncio.sleep(0.001)

    server.call(reached())


def test_tokens_are_stored_as_hashes_only(tmp_path: Path) -> None:
    """Who reads the database file learns no token."""
    with running_server(f"sqlite:///{tmp_path / 'jobs.db'}", token="a-secret-of-the-test") as server:
        assert get(server, "/api/jobs").status_code == 200
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"a-secret-of-the-test" not in stored
    assert rows(str(tmp_path / "jobs.db"), "SELECT sha256 FROM tokens") == [
        (hash_token("a-secret-of-the-test"),)
    ]


def test_the_configured_token_replaces_that_of_an_earlier_start(tmp_path: Path) -> None:
    """Changing MILLHAND_SERVER_TOKEN locks the old one out, and the data stays reachable."""
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    with running_server(url, token="first") as server:
        post(server, "/api/jobs", {"type": "noop"})
    with running_server(url, token="second") as server:
        assert get(server, "/api/jobs", "first").status_code == 401
        assert len(get(server, "/api/jobs").json()["jobs"]) == 1


def test_an_expired_token_is_not_valid() -> None:
    """A token ends at its time, also while it is in use."""
    clock = FakeClock()
    with running_server(clock=clock) as server:
        token = new_token()
        expires_at = int(clock.at.timestamp() * 1000) + 2_000
        server.apply(
            CreateToken(
                org_id=server.org_id,
                sha256=hash_token(token),
                scopes=frozenset({READ}),
                expires_at=expires_at,
            )
        )
        assert get(server, "/api/jobs", token).status_code == 200
        clock.advance(2)
        assert get(server, "/api/jobs", token).status_code == 401


def test_a_token_to_read_cannot_write(server: RunningServer) -> None:
    """A dashboard's token is of no use for changing anything."""
    token = server.new_token("default", frozenset({READ}))
    assert get(server, "/api/jobs", token).status_code == 200
    answer = httpx.post(f"{server.url}/api/jobs?bearer_token={token}", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


def test_a_poll_that_prefers_to_wait_is_held_until_a_task_comes(server: RunningServer) -> None:
    """Over the wire: held, answered with the task, and told that the preference was applied."""
    answers: list[httpx.Response] = []
    job = post(server, "/api/jobs", {"type": "noop"})[0]["id"]

    def poll() -> None:
        headers = {"Prefer": "respond-async, wait=15", "Millhand-Agent": "pod/a"}
        answers.append(get(server, "/api/jobs/tasks?runStatus=pending", headers=headers))

    waiting = threading.Thread(target=poll)
    waiting.start()
    wait_for_line(server, 1)
    task = post(server, "/api/jobs/tasks", {"jobId": job})
    waiting.join(LIMIT_S)
    assert [found["id"] for found in answers[0].json()["tasks"]] == [task["id"]]
    assert answers[0].headers["Preference-Applied"] == "wait=15"


def test_a_client_that_disconnects_leaves_the_line(server: RunningServer) -> None:
    """Its place is free at once, not only after its time."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=LIMIT_S) as client:
        client.sendall(
            f"GET /api/jobs/tasks?runStatus=pending HTTP/1.1\r\nHost: x\r\nPrefer: wait=60\r\n"
            f"Authorization: Bearer {server.token}\r\n\r\n".encode()
        )
        wait_for_line(server, 1)
    wait_for_line(server, 0)
    assert get(server, "/healthz").status_code == 200


def test_a_stop_answers_those_who_wait() -> None:
    """Nobody's request is cut off by a stop."""
    answers: list[httpx.Response] = []
    with running_server() as server:
        headers = {"Prefer": "wait=60"}
        waiting = threading.Thread(
            target=lambda: answers.append(get(server, "/api/jobs/tasks?runStatus=pending", headers=headers))
        )
        waiting.start()
        wait_for_line(server, 1)
    waiting.join(LIMIT_S)
    assert answers[0].json() == {"tasks": []}


def test_every_route_and_parameter_is_in_the_openapi_document(server: RunningServer) -> None:
    """The document is what the server serves: the reference's 13 and ours, every parameter and field."""
    document = httpx.get(f"{server.url}/openapi.json").json()
    operations = [endpoint.operation for endpoint in server.app.paths.endpoints]
    served = {(operation.path, operation.method.lower()) for operation in operations}
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert described == served
    assert len([path for path, _ in served if path.startswith("/api/jobs")]) == 13
    names = {parameter["name"] for parameter in document["paths"]["/api/jobs/tasks"]["get"]["parameters"]}
    assert names == {"orgId", "jobId", "runStatus", "type", "page", "perPage", "sort"}
    schemas = document["components"]["schemas"]
    assert {"CPUTime", "requestCPUs", "instanceID", "machine"} <= set(schemas["RunRecord"]["properties"])
    references = re.findall(r'"#/components/schemas/(\w+)"', httpx.get(f"{server.url}/openapi.json").text)
    assert set(references) <= set(schemas)


def test_the_page_of_the_api_loads_nothing_from_elsewhere(server: RunningServer) -> None:
    """It can be read on a machine without internet, and its policy says so."""
    page = httpx.get(f"{server.url}/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "/api/jobs/runs/{runId}" in page.text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page.text)
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_health_needs_no_token(server: RunningServer) -> None:
    """A probe has none."""
    assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{server.url}/readyz").json() == {"status": "ready"}


def test_a_body_above_the_limit_is_refused_and_the_connection_lives() -> None:
    """The answer arrives although the client was still sending."""
    with running_server(max_body_bytes=1000) as server, httpx.Client(base_url=server.url) as client:
        client.headers["Authorization"] = f"Bearer {server.token}"
        answer = client.post("/api/jobs", json={"title": "x" * 2000})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
        assert "1000 bytes" in answer.json()["error"]["message"]
        assert client.get("/api/jobs").status_code == 200


def test_a_fault_of_ours_is_answered_in_the_documented_shape(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client gets JSON with a code and learns nothing of the inside."""

    async def fail(*_arguments: object) -> None:
        raise ZeroDivisionError("a secret of the inside")

    # No input is known that makes the server fail, so one of its parts is made to.
    monkeypatch.setattr(server.app.store, "job", fail)
    answer = get(server, "/api/jobs/x")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text


def test_a_database_that_cannot_be_opened_is_told_to_who_starts_it(tmp_path: Path) -> None:
    """The starting code gets the reason."""
    with (
        pytest.raises(DatabaseError, match="cannot be opened"),
        running_server(f"sqlite:///{tmp_path / 'no' / 'jobs.db'}"),
    ):
        pass


START = (
    "import sys; from server.serve import *; sys.exit(run(ServeConfig(port=0, db=sys.argv[1], token='t')))"
)


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_with_exit_code_0(tmp_path: Path, signal_: signal.Signals) -> None:
    """A stop that was asked for is no failure; the line that says where it listens comes first."""
    child = subprocess.Popen(
        [sys.executable, "-c", START, f"sqlite:///{tmp_path / 'jobs.db'}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        found = re.search(r"listening on (http://127\.0\.0\.1:\d+)", line)
        assert found, line
        assert httpx.get(f"{found[1]}/readyz", timeout=LIMIT_S).status_code == 200
        child.send_signal(signal_)
        assert child.wait(LIMIT_S) == 0
    finally:
        child.kill()
        child.wait(LIMIT_S)
        assert child.stdout is not None
        child.stdout.close()


def started(*options: str) -> tuple[subprocess.Popen[str], str]:
    """Start `millhand serve` as a process; return it and its URL."""
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "worker.cli.main", "serve", "--port", "0", "--token", "t", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    found = re.search(r"http://127\.0\.0\.1:\d+", "".join(iter_until(child.stderr, "listening")))
    assert found
    return child, found[0]


def ended(child: subprocess.Popen[str]) -> None:
    """Kill what a test left."""
    child.kill()
    child.wait(LIMIT_S)
    assert child.stderr is not None
    child.stderr.close()


def test_a_server_that_was_told_to_stop_serves_on_until_nobody_comes_any_more() -> None:
    """A load balancer sees 503 and sends nothing more; what it sent before is answered, all of it."""
    child, url = started("--db", "sqlite://", "--shutdown-delay", "10m")
    statuses: list[int] = []
    held: list[httpx.Response] = []
    headers = {"Authorization": "Bearer t"}

    def balance() -> None:
        with httpx.Client(headers=headers, timeout=LIMIT_S) as probe:
            while probe.get(f"{url}/readyz").status_code == 200:
                statuses.append(httpx.get(f"{url}/api/jobs", headers=headers, timeout=LIMIT_S).status_code)
                statuses.append(probe.post(f"{url}/api/jobs", json={"type": "noop"}).status_code)

    def wait() -> None:
        prefers = {**headers, "Prefer": "wait=60"}
        held.append(httpx.get(f"{url}/api/jobs/tasks?runStatus=pending", headers=prefers, timeout=90))

    try:
        threads = [threading.Thread(target=balance) for _ in range(4)] + [threading.Thread(target=wait)]
        for thread in threads:
            thread.start()
        while len(statuses) < 40:
            threading.Event().wait(0.01)
        child.send_signal(signal.SIGTERM)
        for thread in threads[:-1]:
            thread.join(LIMIT_S)
            assert not thread.is_alive()
        assert set(statuses) == {200}
        assert httpx.get(f"{url}/healthz", timeout=LIMIT_S).status_code == 200  # a straggler is served
        assert held == []
        child.send_signal(signal.SIGTERM)
        assert child.wait(LIMIT_S) == 0
        threads[-1].join(LIMIT_S)
        assert [answer.json() for answer in held] == [{"tasks": []}]
    finally:
        ended(child)


def test_the_delay_of_a_stop_ends_by_itself() -> None:
    """Nobody has to tell it twice."""
    child, url = started("--db", "sqlite://", "--shutdown-delay", "0.2s")
    try:
        assert httpx.get(f"{url}/readyz", timeout=LIMIT_S).status_code == 200
        child.send_signal(signal.SIGTERM)
        assert child.wait(LIMIT_S) == 0
        assert child.stderr is not None
        assert "server.draining" in child.stderr.read()
    finally:
        ended(child)


def test_a_finished_job_is_deleted_where_that_is_asked_for(tmp_path: Path) -> None:
    """By the command line, as a process: the job is gone, its pages are, and the audit log says so."""
    db, audit = f"sqlite:///{tmp_path / 'jobs.db'}", tmp_path / "audit"
    child, url = started("--db", db, "--keep-jobs-for", "1s", "--audit-log", str(audit))
    try:
        assert child.stderr is not None
        with httpx.Client(base_url=url, headers={"Authorization": "Bearer t"}, timeout=LIMIT_S) as api:
            job = api.post("/api/jobs", json={"type": "noop"}).json()[0]["id"]
            other = api.post("/api/jobs", json={"type": "noop"}).json()[0]["id"]
            task = api.post("/api/jobs/tasks", json={"jobId": job}).json()["id"]
            end = "2026-01-02T03:04:05.678Z"
            run_ = {"taskId": task, "startedAt": end, "stoppedAt": end, "resultCode": "Success"}
            assert api.post("/api/jobs/runs", json=run_).status_code == 200
            "".join(iter_until(child.stderr, "job.deleted"))
            assert [one["id"] for one in api.get("/api/jobs").json()["jobs"]] == [other]
            assert api.get(f"/api/jobs/{job}").status_code == 404
            assert api.get(f"/api/jobs/runs?jobId={job}").json() == {"runs": []}
        line = json.loads(audit.read_text().splitlines()[-1])
        assert (line["event"], line["ids"], line["tasks"]) == ("job_deleted", {"jobId": job}, 1)
        child.send_signal(signal.SIGTERM)
        assert child.wait(LIMIT_S) == 0
    finally:
        ended(child)


def iter_until(lines: Iterable[str], word: str) -> Iterator[str]:
    """Give lines up to the one with a word; where none comes, the test's own limit ends it."""
    for line in lines:
        yield line
        if word in line:
            return
    raise AssertionError(f"no line with {word!r}")


def test_a_port_in_use_is_said_clearly(capfd: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and the message names the port and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(ServeConfig(port=port, db="sqlite://", token="t")) == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in capfd.readouterr().err


def test_a_wrong_database_url_is_said_clearly(capfd: pytest.CaptureFixture[str]) -> None:
    """Exit code 2: starting again does not help."""
    assert run(ServeConfig(port=0, db="jobs.db", token="t")) == 2
    assert "not a database URL: 'jobs.db'" in capfd.readouterr().err


def test_nobody_listens_beyond_loopback_without_a_token(capfd: pytest.CaptureFixture[str]) -> None:
    """Who can be reached by others needs one to let them in; a start that fails leaves signals alone."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    assert run(ServeConfig(host="0.0.0.0", port=0, db="sqlite://")) == 2
    assert "set MILLHAND_SERVER_TOKEN" in capfd.readouterr().err
    assert [signal.getsignal(number) for number in numbers] == before
