"""The dashboard keeps what a token may do, what it is said to cost, and what is said of it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from server.audit import Audit
from server.dashboard import sent_forms
from server.dashboard.session import COOKIE
from server.store.refusal import StoreFailed
from server.store.sqlite.beside import tokens_beside
from server.tokens import READ
from tests.integration.dashboard import Reader, Site, site
from worker.clock import SystemClock

LIMIT_S = 30.0  # a bound for a hang


@pytest.fixture
def here() -> Iterator[Site]:
    """Serve a site."""
    with site() as made:
        yield made


def sending(here: Site, head: str, body: bytes) -> socket.socket:
    """Connect and send a request, or a part of one."""
    url = httpx.URL(here.server.url)
    connection = socket.create_connection((url.host, url.port or 0), LIMIT_S)
    connection.sendall(f"{head}\r\nHost: x\r\n\r\n".encode() + body)
    return connection


def all_of(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes."""
    found = b""
    while part := connection.recv(65_536):
        found += part
    return found


def test_a_form_that_never_ends_holds_no_connection(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has no token sends one byte and no more: it is told so, and cut off."""
    monkeypatch.setattr(sent_forms, "FORM_S", 0.2)
    with sending(here, "POST /ui/sign-in HTTP/1.1\r\nContent-Length: 100", b"t") as connection:
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive" in answer


def test_a_form_that_ends_early_is_no_fault_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody fills its log by going away in the middle."""
    with capture_logs() as told, site(access_log=True) as here:
        with sending(here, "POST /ui/sign-in HTTP/1.1\r\nContent-Length: 100", b"token="):
            pass
        until(told, "/ui/sign-in")
        assert here.stranger().client.get("/healthz").status_code == 200
    assert [record.getMessage() for record in caplog.records] == []
    assert [line for line in told if line["log_level"] in ("error", "critical")] == []


def test_who_is_not_known_sends_less_than_who_is(here: Site) -> None:
    """A token is short; nobody who has none fills the memory."""
    answer = here.stranger().sign_in("x" * sent_forms.MAX_SIGN_IN_BYTES)
    assert answer.status_code == 413
    assert "at most" in Reader(answer.text).text
    browser = here.browser()
    sent = {"proof": browser.look("/ui/").hidden["proof"], "x": "y" * sent_forms.MAX_SIGN_IN_BYTES}
    job = here.job()
    assert browser.client.post(f"/ui/jobs/{job['id']}/pause", data=sent).status_code == 303


@pytest.mark.parametrize("whence", ["cross-site", "same-site"])
def test_no_other_site_signs_a_browser_in(here: Site, whence: str) -> None:
    """Whoever is led to another's account would submit there what is theirs."""
    stranger = here.stranger()
    sent = {"token": here.server.token, "to": ""}
    answer = stranger.client.post("/ui/sign-in", data=sent, headers={"Sec-Fetch-Site": whence})
    assert answer.status_code == 403
    assert COOKIE not in answer.cookies
    own = stranger.client.post("/ui/sign-in", data=sent, headers={"Sec-Fetch-Site": "same-origin"})
    assert (own.status_code, COOKIE in own.cookies) == (303, True)


def test_who_looks_is_counted_as_who_calls_the_api(tmp_path: Path) -> None:
    """A token has one rate for both, its last use is noted, and the access log knows it."""
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    with capture_logs() as told, site(db=url, access_log=True, rate_per_s=0.001) as here:
        browser = here.browser(here.server.new_token("lookers", frozenset({READ})))
        answers = [browser.client.get("/ui/machines") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert int(answers[-1].headers["Retry-After"]) >= 1
        assert "requests in a second" in Reader(answers[-1].text).text
        until(told, "/ui/machines", 2)
    (token,) = [one for one in tokens_beside(url, SystemClock()) if one.organisation == "lookers"]
    assert token.last_used_at
    assert {line["token_id"] for line in told if line.get("path") == "/ui/machines"} == {token.id}


def test_too_many_pages_at_once_are_refused_as_other_requests_are() -> None:
    """`--max-requests` holds for all that is worked on."""
    with site(most_requests=0) as here:
        answer = here.browser().client.get("/ui/")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("path", ["/ui/", "/ui/sign-in", "/ui/sign-out"])
def test_a_database_that_is_away_is_said(here: Site, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Who somebody is cannot be told then: that is no fault, and passes."""
    browser = here.browser()

    async def away(_sha256: str) -> None:
        raise StoreFailed("it is away")

    monkeypatch.setattr(here.server.app.store, "principal", away)  # no database can be stopped in a moment
    method = "GET" if path == "/ui/" else "POST"
    answer = browser.client.request(method, path, data={"token": "x"} if method == "POST" else None)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "it is away" in answer.text


def test_the_audit_log_names_the_job_that_a_page_made(tmp_path: Path) -> None:
    """Not only the handler that it is for."""
    path = tmp_path / "audit.log"
    audit = Audit(str(path), SystemClock())
    with site(audit=audit) as here:
        said = {"handlers": {"noop": {"schema": {"type": "object", "properties": {}}}}}
        here.make("PUT", "/api/agents/one", status={}, machine={}, **said)
        browser = here.browser()
        form = browser.look("/ui/handlers/noop").hidden
        job = browser.client.post("/ui/handlers/noop", data=form).headers["location"].rpartition("/")[2]
        assert here.api.get(f"/api/jobs/{job}").status_code == 200
    audit.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    (submitted,) = [line for line in lines if line["operation"] == "page_submit"]
    assert submitted["ids"] == {"id": "noop", "jobId": job}


def until(told: list[MutableMapping[str, Any]], path: str, count: int = 1) -> None:
    """Return once so many requests of a path are in the access log."""
    end = time.monotonic() + LIMIT_S
    while sum(line.get("path") == path for line in told) < count:
        assert time.monotonic() < end
        time.sleep(0.01)
