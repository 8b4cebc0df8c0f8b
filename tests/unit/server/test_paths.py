"""Paths and methods: what is served, and what is said of all others."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from server.testing import TOKEN, running_server


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """Return a client of a running server."""
    with (
        running_server() as server,
        httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {TOKEN}"}) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/jobs/tasks", "GET, POST"),  # and no job of the name "tasks"
        ("POST", "/api/jobs/reports", "GET"),
        ("DELETE", "/api/jobs/x", "GET, PUT"),
        ("PATCH", "/api/jobs/runs/x", "GET, PUT"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    client: httpx.Client, method: str, path: str, allowed: str
) -> None:
    """405 with the documented body and all methods of that path."""
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/api", "/api/jobs/runs/x/y", "/api/jobs//x", "/api/other"])
def test_an_unknown_path_has_the_documented_error(client: httpx.Client, path: str) -> None:
    """404 as for everything that is not there."""
    answer = client.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_head_is_answered_as_get_without_a_body(client: httpx.Client) -> None:
    """What a GET can ask a HEAD can too."""
    answer = client.head("/api/jobs")
    assert (answer.status_code, answer.content) == (200, b"")


def test_an_id_is_taken_as_it_was_escaped(client: httpx.Client) -> None:
    """Letters beyond ASCII and signs with a meaning elsewhere are found again."""
    for job_id in ("jöb", "a+b&c=d", "a;b,c", "日本"):
        assert client.post("/api/jobs", json={"id": job_id}).status_code == 200
        assert client.get(f"/api/jobs/{job_id}").json()[0]["id"] == job_id


@pytest.mark.parametrize("job_id", [".", ".."])
def test_an_id_that_clients_take_out_of_a_path_is_refused(client: httpx.Client, job_id: str) -> None:
    """Such a job could never be asked for."""
    answer = client.post("/api/jobs", json={"id": job_id})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith("id: ")
