"""A head that came before is not read again: nobody can tell, whatever comes after it and in what pieces."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from uvicorn.config import Config
from uvicorn.server import ServerState

from server.activity import Activity
from server.connection import Connection, ConnectionLimits
from server.http.exchange import exchange_of, withdraw
from server.known_heads import LONGEST_BYTES, MOST_KNOWN, KnownHeads
from server.store.commands import DeleteToken
from server.testing import TOKEN, running_server
from server.tokens import SERVER_TOKEN_ID
from tests.unit.server.test_exchange import BODY, names_of, request, sent_and_received
from tests.unit.server.test_joined import Recording

PATH = "/api/jobs"
FIELDS = "Host: x\r\nX-A: b\r\nContent-Length: "


def written(body: bytes, path: str = "/api/a", fields: str = FIELDS, method: str = "PUT") -> bytes:
    """Return a request whose head ends with its length."""
    return f"{method} {path} HTTP/1.1\r\n{fields}{len(body)}\r\n\r\n".encode() + body


class Peer(Recording):
    """The other side of a connection, without a socket."""

    def __init__(self) -> None:
        """Come from an address of the examples."""
        super().__init__()
        self._extra = {"peername": ("192.0.2.1", 1), "sockname": ("192.0.2.2", 2)}

    def write(self, data: Any) -> None:
        """Note it, and lose what comes after the end as a socket does."""
        if not self.is_closed:
            super().write(data)

    def get_write_buffer_size(self) -> int:
        """Return that all was taken."""
        return 0

    def pause_reading(self) -> None:
        """Read on: nobody waits for the other side here."""

    def resume_reading(self) -> None:
        """Read on."""


class Forgetful(KnownHeads):
    """Has the parser read every head."""

    def learn(self, data: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """Keep nothing."""


async def tell(scope: Any, receive: Any, send: Any) -> None:
    """Answer with all that is known of a request; every second time with messages."""
    exchange = exchange_of(scope)
    assert exchange is not None
    body = exchange.take_body() if b"w" not in scope["path"].encode() else None
    while body is None:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        scope["seen"] = scope.get("seen", b"") + message["body"]
        body = None if message["more_body"] else scope["seen"]
    withdraw(scope)
    seen = [scope["method"], scope["path"], scope["raw_path"], scope["query_string"], scope["headers"], body]
    text = repr([*seen, scope["client"], scope["scheme"], scope["http_version"]]).encode()
    if b"m" in scope["raw_path"] or not exchange.answer(200, b"content-length: %d\r\n" % len(text), text):
        headers = [(b"content-length", str(len(text)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text})


def heard(parts: list[bytes], *, knows_heads: bool) -> list[bytes]:
    """Return what a connection answers to parts that come one after another, each once the last is done."""

    async def scenario() -> tuple[bytes, bool]:
        config, state = Config(tell, log_config=None, lifespan="off"), ServerState()
        config.load()
        connection = Connection(config, state, ConnectionLimits(9, Activity()))
        if not knows_heads:
            connection._heads = Forgetful()
        peer = Peer()
        connection.connection_made(peer)
        for part in parts:
            if not peer.is_closing():
                connection.data_received(part)
            for _ in range(9):
                await asyncio.sleep(0)
        is_closed = peer.is_closing()
        connection.connection_lost(None)
        for task in state.tasks:
            task.cancel()
        return b"".join(peer.writes), is_closed

    async def within_limit() -> tuple[bytes, bool]:
        return await asyncio.wait_for(scenario(), 30.0)

    sent, is_closed = asyncio.run(within_limit())
    lines = [line for line in sent.split(b"\r\n") if not line.startswith(b"date: ")]
    return [*lines, b"closed" if is_closed else b"open"]


KNOWN = written(b"known")
OTHERS = [
    written(b""),
    written(b"{}" * 40, "/api/b/c"),
    written(b"by messages", "/api/m"),
    written(b"waited for", "/api/w"),
    written(b"post", method="POST"),
    written(b"other fields", fields="Host: y\r\ncontent-length: "),
    written(b"two", fields="Content-Length: 3\r\nContent-Length: "),
    written(b"last", fields="Connection: close\r\nContent-Length: "),
    written(b"told", fields="Expect: 100-continue\r\nContent-Length: "),
    b"PUT /api/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"PUT /api/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"GET /api/a?b=c HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PUT /api/%61 HTTP/1.1\r\n" + FIELDS.encode() + b"2\r\n\r\nab",
    b"PUT /api/a HTTP/1.0\r\n" + FIELDS.encode() + b"2\r\n\r\nab",
    b"PUT /api/a HTTP/1.1\r\n" + FIELDS.encode() + b"002\r\n\r\nab",
    b"PUT /api/a HTTP/1.1\r\n" + FIELDS.encode() + b"+2\r\n\r\nab",
    b"PUT /api/a HTTP/1.1\r\n" + FIELDS.encode() + b"2 \r\n\r\nab",
    b"PUT /api/a HTTP/1.1\r\n" + FIELDS.encode() + b"2, 2\r\n\r\nab",
    b"PUT /api/a HTTP/1.1\r\n" + FIELDS.encode() + b"99999999999999999999\r\n\r\nab",
    b"PUT /api/a HTTP/1.1\n" + FIELDS.encode().replace(b"\r", b"") + b"2\n\nab",
    b"\r\n" + KNOWN,
]


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Return requests, some of them damaged, cut anywhere: many come whole, two at once, or in pieces."""
    requests = draw(st.lists(st.sampled_from([KNOWN, KNOWN, *OTHERS]), min_size=1, max_size=6))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(requests) - 1))
        place = draw(st.integers(0, len(requests[at])))
        damage = draw(st.sampled_from([b"", b"\r\n", b"\x00", b" ", b":", b"9", b"\r\n\r\n"]))
        requests[at] = requests[at][:place] + damage + requests[at][place + draw(st.integers(0, 2)) :]
    parts = list[bytes]()
    for one in requests:
        match draw(st.sampled_from(["whole", "whole", "joined", "cut"])):
            case "joined" if parts:
                parts[-1] += one
            case "cut":
                cut = draw(st.integers(0, len(one)))
                parts += [one[:cut], one[cut:]]
            case _:
                parts.append(one)
    return [KNOWN, *(part for part in parts if part)]


@given(conversations())
@example([KNOWN, KNOWN + OTHERS[1], KNOWN])
@example([KNOWN, *OTHERS[:6]])
@settings(max_examples=300, deadline=None)
def test_who_knows_heads_answers_as_who_reads_each_of_them(parts: list[bytes]) -> None:
    """Byte for byte, the end of the connection too, whatever came before and in whatever pieces."""
    assert heard(parts, knows_heads=True) == heard(parts, knows_heads=False)


def test_only_a_head_that_ends_with_its_length_and_says_nothing_of_the_connection_is_known() -> None:
    """Of the others the answer, or the end of the body, depends on more than these bytes."""
    heads, headers = KnownHeads(), [(b"host", b"x"), (b"x-a", b"b")]
    heads.learn(KNOWN, [*headers, (b"x-b", b"5")])
    heads.learn(KNOWN, [(b"content-length", b"5"), *headers, (b"content-length", b"5")])
    for name in (b"connection", b"expect", b"te", b"trailer", b"transfer-encoding", b"upgrade"):
        heads.learn(KNOWN, [(name, b""), (b"content-length", b"5")])
    assert heads.find(KNOWN) is None
    heads.learn(KNOWN, [*headers, (b"content-length", b"5")])
    found = heads.find(written(b"more of it", "/api/d", method="POST"))
    assert found is not None
    assert (found.method, found.path, found.content) == ("POST", b"/api/d", b"more of it")
    assert found.headers == [*headers, (b"content-length", b"10")]
    assert found.asked.get("X-A") == "b"


@pytest.mark.parametrize(
    "data",
    [
        KNOWN[:-1],
        KNOWN + b"x",
        KNOWN.replace(b" 5\r", b" 4\r"),
        KNOWN.replace(b" 5\r", b" -5\r"),
        b"",
        b"PUT",
    ],
    ids=["too short", "too long", "length too small", "no length", "nothing", "half a word"],
)
def test_less_or_more_than_one_request_goes_to_the_parser(data: bytes) -> None:
    """It waits for what is missing, and keeps what is too much."""
    heads = KnownHeads()
    heads.learn(KNOWN, [(b"host", b"x"), (b"x-a", b"b"), (b"content-length", b"5")])
    assert heads.find(KNOWN) is not None
    assert heads.find(data) is None


def test_a_connection_remembers_few_heads_and_no_long_one() -> None:
    """What a client sends anew with every request takes no more room than that."""
    heads = KnownHeads()
    for number in range(MOST_KNOWN + 1):
        fields = f"X-A: {number}\r\nContent-Length: "
        heads.learn(written(b"", fields=fields), [(b"x-a", b"%d" % number), (b"content-length", b"0")])
    assert heads.find(written(b"", fields="X-A: 0\r\nContent-Length: ")) is None
    assert heads.find(written(b"", fields="X-A: 1\r\nContent-Length: ")) is not None
    long = f"X-A: {'b' * LONGEST_BYTES}\r\nContent-Length: "
    heads.learn(written(b"", fields=long), [(b"x-a", b""), (b"content-length", b"0")])
    assert heads.find(written(b"", fields=long)) is None


def test_the_same_requests_again_have_the_same_answers_and_a_new_id_each() -> None:
    """The last one ends the connection as before."""
    one = request("POST", PATH, body=BODY)
    with running_server() as server:
        first, *known, last = sent_and_received(
            server, one, one, one, request("POST", PATH, "Connection: close", body=BODY)
        )
    assert len(known) == 2
    for answer in (*known, last):
        assert answer[0] == first[0] == b"HTTP/1.1 200 OK"
        assert names_of(answer[1])[: len(first[1])] == names_of(first[1])
    ids = {line for answer in (first, *known, last) for line in answer[1] if line.startswith(b"x-request-id")}
    assert len(ids) == 4


def test_a_token_that_was_taken_away_is_refused_by_a_head_that_is_known() -> None:
    """What is known is what was said, not what it was worth."""
    one = request("POST", PATH, body=BODY)
    with running_server() as server:
        first = sent_and_received(server, one, one, request("GET", "/nothing", "Connection: close"))
        server.apply(DeleteToken(id=SERVER_TOKEN_ID))
        refused = sent_and_received(server, one, one, request("GET", "/nothing", "Connection: close"))
    assert [status for status, _, _ in first[:2]] == [b"HTTP/1.1 200 OK"] * 2
    assert [status for status, _, _ in refused[:2]] == [b"HTTP/1.1 401 Unauthorized"] * 2
    assert TOKEN.encode() in one


def test_too_large_a_body_is_refused_behind_a_head_that_is_known() -> None:
    """Its limit is that of every body."""
    small, large = request("POST", PATH, body=b"{}"), request("POST", PATH, body=b"[" * 65)
    with running_server(max_body_bytes=64) as server:
        answers = sent_and_received(server, small, large, request("GET", "/nothing", "Connection: close"))
    assert [status for status, _, _ in answers[:2]] == [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 413 Request Entity Too Large",
    ]
