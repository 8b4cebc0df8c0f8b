"""Requests and answers that go as wholes, beside those that go as messages: nobody can tell them apart."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from server.http import date
from server.http.answer import Answer, _known_lines
from server.http.request import Headers
from server.http.seen import Seen
from server.joined import JoinedWrites, WholeExchange
from server.testing import TOKEN, RunningServer, running_server
from tests.unit.server.test_joined import Recording, run
from tests.unit.server.world import LIMIT_S

BODY = b'{"type":"x"}'
NOON_S = 1_584_532_800.0  # of 18 March 2020
HEAD = f"Host: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()


def request(method: str, path: str, *lines: str, body: bytes = b"", version: str = "1.1") -> bytes:
    """Return a request as bytes."""
    more = "".join(f"{line}\r\n" for line in (*lines, f"Content-Length: {len(body)}"))
    return f"{method} {path} HTTP/{version}\r\n".encode() + HEAD + more.encode() + b"\r\n" + body


def sent_and_received(server: RunningServer, *parts: bytes) -> list[tuple[bytes, list[bytes], bytes]]:
    """Send parts, then no more; return status line, headers and body of each answer until the end."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), LIMIT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            connection.sendall(part)
        received = b""
        while part := connection.recv(65_536):
            received += part
    answers = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        status, *headers = head.split(b"\r\n")
        length = next((int(one.split(b": ")[1]) for one in headers if one.startswith(b"content-length")), 0)
        answers.append((status, headers, received[:length]))
        received = received[length:]
    return answers


def names_of(headers: list[bytes]) -> list[bytes]:
    """Return the names in their order."""
    return [header.partition(b":")[0] for header in headers]


def test_a_body_that_comes_in_parts_is_answered_as_one_that_comes_at_once() -> None:
    """The same headers in the same order, whichever way the request went."""
    whole = request("POST", "/api/jobs", "Connection: close", body=BODY)
    with running_server() as server:
        (at_once,) = sent_and_received(server, whole)
        in_parts = [whole[at : at + 1] for at in range(len(whole))]
        (by_bytes,) = sent_and_received(server, *in_parts)
    assert at_once[0] == by_bytes[0] == b"HTTP/1.1 200 OK"
    assert names_of(at_once[1]) == names_of(by_bytes[1])
    assert b"connection: close" in at_once[1]
    assert {b"x-request-id", b"x-content-type-options", b"cache-control", b"date"} < set(names_of(at_once[1]))


def test_requests_one_after_another_on_a_connection_are_answered_in_their_order() -> None:
    """Also where all of them come in one piece; the last one closes it."""
    two = request("POST", "/api/jobs", body=BODY) + request("GET", "/api/jobs/tasks")
    last = request("PUT", "/api/jobs/nothing", "Connection: close", body=b"{}")
    with running_server() as server:
        answers = sent_and_received(server, two + last)
    assert [status for status, _, _ in answers] == [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 404 Not Found",
    ]
    assert answers[1][2] == b'{"tasks":[]}'


def test_a_head_is_answered_without_a_body_and_an_old_client_by_a_close() -> None:
    """The length is that of the body all the same."""
    with running_server() as server:
        (status, headers, _), *rest = sent_and_received(
            server, request("HEAD", "/api/jobs/tasks", "Connection: close")
        )
        old = sent_and_received(server, request("GET", "/api/jobs/tasks", version="1.0"))
    assert status == b"HTTP/1.1 200 OK"
    assert rest == []
    assert b"content-length: 12" in headers
    assert b"connection: close" in old[0][1]


def test_who_waits_to_be_told_to_go_on_is_told_before_the_answer() -> None:
    """100 comes first; who sends the body without waiting is told nothing but the answer."""
    told = request("POST", "/api/jobs", "Expect: 100-continue", "Connection: close", body=BODY)
    head, body = told[: -len(BODY)], told[-len(BODY) :]
    with running_server() as server:
        answers = sent_and_received(server, head, body)
        at_once = sent_and_received(server, told)
    assert answers[-1][0] == at_once[-1][0] == b"HTTP/1.1 200 OK"
    assert [status for status, _, _ in answers[:-1]] in ([], [b"HTTP/1.1 100 Continue"])
    assert at_once[:-1] == []


def test_a_request_that_is_over_leaves_nothing_to_the_collector() -> None:
    """Its body goes with it, also where nobody read it: a collection may be many requests away."""
    unread = request("PUT", "/api/jobs/nothing", body=b"[]").replace(TOKEN.encode(), b"wrong")
    asked = [
        request("GET", "/api/jobs/tasks"),
        request("POST", "/api/jobs", body=BODY),
        request("PUT", "/api/jobs/nothing", body=b"[]"),
        unread,
        request("GET", "/nothing"),
    ]
    with running_server() as server:
        last = request("GET", "/api/jobs/tasks", "Connection: close")
        sent_and_received(server, *asked, last)
        gc.collect()
        gc.disable()
        try:
            sent_and_received(server, *(asked * 20), last)
            left = gc.collect()
        finally:
            gc.enable()
    assert left < 20 * len(asked)


def test_headers_of_an_answer_are_made_once_unless_they_take_much_room() -> None:
    """A job's state, which a client chooses, is among them; it comes as it would in messages."""
    _known_lines.cache_clear()
    for state in ("active", "active", "b" * 10_000, "c\r\nd: e"):
        sent = Sent()
        answer = Answer(b"{}", headers={"Millhand-Scheduler-State": state})
        assert answer.send_whole(sent, Seen(request_id="x"))
        asyncio.run(answer.send(sent.note))
        assert set(sent.messages) < set(sent.head.removesuffix(b"\r\n").split(b"\r\n"))
    assert _known_lines.cache_info().currsize == 2


class Sent:
    """What was sent, as a whole and as lines of messages."""

    head = b""
    messages: tuple[bytes, ...] = ()
    is_there = True

    def take_body(self) -> bytes | None:
        """Return nothing: nobody asks."""

    def answer(self, status: int, head: bytes, body: bytes) -> bool:
        """Note the head."""
        self.head = head
        return True

    async def note(self, message: Any) -> None:
        """Note the headers."""
        self.messages += tuple(b": ".join(header) for header in message.get("headers", ()))


def test_what_was_read_out_of_headers_is_read_no_second_time() -> None:
    """Nothing is as good as something."""
    headers, reads = Headers([(b"x-a", b"b")]), []

    def read(headers: Headers) -> str | None:
        reads.append(headers)
        return headers.get("x-b")

    assert headers.once(read) is headers.once(read) is None
    assert reads == [headers]


@pytest.mark.parametrize("path", ["/api/jobs/tasks", "/nothing"])
def test_an_answer_is_dated_when_somebody_asks(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers, and however the clock went meanwhile: no date is kept up to date for nobody."""
    dates = []
    with running_server() as server:
        for at_s in (NOON_S, NOON_S + 86_400.0):
            with monkeypatch.context() as patch:
                patch.setattr(date, "time", SimpleNamespace(time=lambda at_s=at_s: at_s))
                (answer,) = sent_and_received(server, request("GET", path, "Connection: close"))
            dates += [line for line in answer[1] if line.startswith(b"date: ")]
    assert dates == [b"date: Wed, 18 Mar 2020 12:00:00 GMT", b"date: Thu, 19 Mar 2020 12:00:00 GMT"]


@pytest.mark.parametrize("state", ["started", "gone", "paused"])
def test_what_cannot_be_sent_at_once_is_left_to_messages(state: str) -> None:
    """An answer that has begun, a client that went away, one that does not read."""

    async def scenario() -> None:
        cycle, flow, transport = cycle_of()
        exchange = WholeExchange(cycle, transport_of(transport))
        assert exchange.take_body() is None
        cycle.more_body = False
        assert exchange.take_body() == b""
        cycle.response_started = state == "started"
        cycle.disconnected = state == "gone"
        flow.write_paused = state == "paused"
        assert not exchange.answer(200, b"", b"body")
        assert transport.writes == []
        assert not cycle.response_complete

    run(scenario())


def test_what_is_held_of_an_earlier_write_comes_before_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As 100 Continue, which uvicorn writes when somebody begins to read the body.

    The answer is dated when it goes out: its request may have waited for a task since.
    """

    async def scenario() -> None:
        cycle, _, transport = cycle_of()
        monkeypatch.setattr(date, "time", SimpleNamespace(time=lambda: NOON_S))
        joined = transport_of(transport)
        joined.write(b"first ")
        assert WholeExchange(cycle, joined).answer(200, b"a: b\r\n", b"body")
        dated = b"date: " + formatdate(NOON_S, usegmt=True).encode()
        assert b"".join(transport.writes) == b"first HTTP/1.1 200 OK\r\n" + dated + b"\r\na: b\r\n\r\nbody"
        assert cycle.response_complete

    run(scenario())


def cycle_of() -> tuple[RequestResponseCycle, FlowControl, Recording]:
    """Return a request of which the head was read."""
    transport = Recording()
    flow = FlowControl(transport)
    log = logging.getLogger("test")
    cycle = RequestResponseCycle(
        scope={"method": "POST"},  # type: ignore[typeddict-item]
        transport=transport,
        flow=flow,
        logger=log,
        access_logger=log,
        access_log=False,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=True,
        on_response=lambda: None,
    )
    return cycle, flow, transport


def transport_of(transport: Recording) -> JoinedWrites:
    """Return what an answer is written to."""
    return JoinedWrites(transport, asyncio.get_running_loop())


def test_headers_are_found_in_any_case_and_the_first_of_a_name_counts() -> None:
    """As Starlette's, which the dashboard reads."""
    headers = Headers([(b"prefer", b"wait=1"), (b"x-a", b"\xe4"), (b"prefer", b"respond-async")])
    assert headers.get("Prefer") == "wait=1"
    assert headers.getlist("PREFER") == ["wait=1", "respond-async"]
    assert headers.get("X-A") == "ä"
    assert headers.get("X-B") is None
    assert "prefer" in headers
    assert "x-b" not in headers
