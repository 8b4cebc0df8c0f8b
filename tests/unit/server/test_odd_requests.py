"""Requests at the edge of what can be: never a failure of the server, never a token in its log."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from server.http import body
from server.pending import line, reservations
from server.routes import jobs
from server.testing import TOKEN, RunningServer, running_server
from tests.unit.server.world import LIMIT_S

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def server() -> Iterator[RunningServer]:
    """Serve from memory."""
    with running_server() as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    """Return a client with the token."""
    with httpx.Client(base_url=server.url, headers=HEADERS) as client:
        yield client


@pytest.fixture
def task_id(client: httpx.Client) -> str:
    """Return a pending task."""
    job_id = client.post("/api/jobs", json={"type": "noop"}).json()[0]["id"]
    return str(client.post("/api/jobs/tasks", json={"jobId": job_id}).json()["id"])


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_time_that_is_none_in_utc_is_refused(client: httpx.Client, task_id: str, at: str) -> None:
    """It is a time where it was written, but not one that can be kept."""
    answer = client.post("/api/jobs/runs", json={"taskId": task_id, "startedAt": at})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith("startedAt: ")


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00.000Z", "1969-12-31T23:59:59.999Z"])
def test_an_early_time_comes_back_as_it_went(client: httpx.Client, task_id: str, at: str) -> None:
    """Four digits of a year, and no loss before 1970."""
    answer = client.post("/api/jobs/runs", json={"taskId": task_id, "startedAt": at})
    assert answer.json()["startedAt"] == at


def test_an_unknown_job_is_named(client: httpx.Client) -> None:
    """The message of a PUT holds the id that was not found."""
    answer = client.put("/api/jobs/nobody", json={"title": "x"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "Job not found: nobody")


def test_a_body_that_does_not_come_is_given_up(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that stalls half way does not hold its request for ever."""
    monkeypatch.setattr(body, "MOST_S", 0.05)  # the limit itself, short enough to wait for
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), LIMIT_S) as client:
        client.sendall(
            f"POST /api/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Content-Length: 9\r\n\r\n{".encode()
        )
        answer = client.makefile("rb").read()  # to its end: head and body may come in two pieces
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body: did not arrive" in answer


def test_a_failure_of_ours_shows_no_token_in_the_log(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its traceback is there, without the values of variables."""

    def fail(_value: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(jobs, "page_of", fail)
    answer = httpx.get(f"{server.url}/api/jobs?bearer_token={TOKEN}", headers=HEADERS)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    shown = "".join(capfd.readouterr())
    assert "ZeroDivisionError" in shown
    assert TOKEN not in shown


def test_a_poll_that_finds_no_room_to_wait_is_not_told_that_it_waited(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is answered at once, and by that knows that it must wait itself."""
    monkeypatch.setattr(line, "MOST_WAITING", 0)
    answer = client.get("/api/jobs/tasks?runStatus=pending", headers={"Prefer": "wait=60"})
    assert (answer.json(), answer.headers.get("Preference-Applied")) == ({"tasks": []}, None)


def test_the_name_of_an_agent_takes_little_room_however_long_it_is(
    server: RunningServer, client: httpx.Client, task_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is remembered with each task that was listed; two long ones are still told apart."""

    def listed(name: str) -> list[str]:
        headers = {"Millhand-Agent": name}
        answer = client.get("/api/jobs/tasks?runStatus=pending", headers=headers)
        return [task["id"] for task in answer.json()["tasks"]]

    monkeypatch.setattr(reservations, "RESERVED_S", 600.0)  # so that a slow machine hides it as long
    first, second = ("x" * 20_000 + end for end in ("1", "2"))
    assert listed(first) == [task_id]
    assert listed(second) == []
    assert listed(first) == [task_id]
    known = server.app.desk._reservations._remembered
    assert [len(agent) for _, _, agent in known] == [64]
