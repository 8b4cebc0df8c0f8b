"""Forms of browsers that nobody knows yet: what one can cost, and who may send it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from structlog.testing import capture_logs

from server.dashboard import received
from server.dashboard.session import COOKIE
from tests.integration.dashboard import Reader, Site, site

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
    monkeypatch.setattr(received, "FORM_S", 0.2)
    with sending(here, "POST /ui/sign-in HTTP/1.1\r\nContent-Length: 100", b"t") as connection:
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive" in answer


def test_a_form_that_ends_early_is_no_fault_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody fills its log by going away in the middle."""
    with capture_logs() as told, site(access_log=True) as here:
        with sending(here, "POST /ui/sign-in HTTP/1.1\r\nContent-Length: 100", b"token="):
            pass
        end = time.monotonic() + LIMIT_S
        while not any(line.get("path") == "/ui/sign-in" for line in told):
            assert time.monotonic() < end
            time.sleep(0.01)
        assert here.stranger().client.get("/healthz").status_code == 200
    assert [record.getMessage() for record in caplog.records] == []
    assert [line for line in told if line["log_level"] in ("error", "critical")] == []


def test_who_is_not_known_sends_less_than_who_is(here: Site) -> None:
    """A token is short; nobody who has none fills the memory."""
    answer = here.stranger().sign_in("x" * received.MAX_SIGN_IN_BYTES)
    assert answer.status_code == 413
    assert "at most" in Reader(answer.text).text
    browser = here.browser()
    sent = {"proof": browser.look("/ui/").hidden["proof"], "x": "y" * received.MAX_SIGN_IN_BYTES}
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
