"""Connections that want to be held for nothing, one too many of them, and what is no HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from server.activity import Activity
from server.app import create_app
from server.connection import HEAD_BYTES, Connection, ConnectionLimits
from server.dashboard.session import COOKIE
from server.testing import TOKEN, RunningServer, running_server
from tests.unit.server.world import LIMIT_S, run_async

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
HEAD_S = 0.3


@pytest.fixture(scope="module")
def hasty() -> Iterator[RunningServer]:
    """Serve with little patience for heads."""
    with running_server(head_s=HEAD_S) as server:
        yield server


def connect(server: RunningServer) -> socket.socket:
    """Open a connection."""
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), LIMIT_S)


def answer_of(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes."""
    received = b""
    try:
        while part := connection.recv(65_536):
            received += part
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ", b"\r\n\r\n"],
    ids=["nothing", "half a line", "half a head", "empty lines"],
)
def test_a_head_that_does_not_end_is_cut_off(hasty: RunningServer, sent: bytes) -> None:
    """Without an answer: there is nobody to answer; the server goes on."""
    with connect(hasty) as connection:
        connection.sendall(sent)
        assert answer_of(connection) == b""
    assert httpx.get(f"{hasty.url}/healthz").status_code == 200


def test_a_head_that_comes_byte_by_byte_is_cut_off(hasty: RunningServer) -> None:
    """More bytes buy no more time."""
    stop = threading.Event()
    with connect(hasty) as connection:

        def drip() -> None:
            try:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nX-A: ")
                while not stop.wait(HEAD_S / 10):
                    connection.sendall(b"a")
            except OSError:
                return

        dripping = threading.Thread(target=drip)
        dripping.start()
        assert answer_of(connection) == b""
        stop.set()
        dripping.join(LIMIT_S)


def test_a_second_head_that_does_not_end_is_cut_off_too(hasty: RunningServer) -> None:
    """Whoever asked well once gets no more patience."""
    with connect(hasty) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /")
        assert answer_of(connection).startswith(b"HTTP/1.1 200 OK")


def test_a_request_that_waits_longer_than_a_head_may_is_not_cut_off(hasty: RunningServer) -> None:
    """The time of heads is not that of answers."""
    query = "/api/jobs/tasks?runStatus=pending"
    answer = httpx.get(f"{hasty.url}{query}", headers={**HEADERS, "Prefer": "wait=1"}, timeout=LIMIT_S)
    assert answer.json() == {"tasks": []}


def test_a_head_without_end_is_refused_by_its_size(hasty: RunningServer) -> None:
    """431 in the documented shape."""
    with connect(hasty) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        try:
            for _ in range(HEAD_BYTES // 1024 * 8):
                connection.sendall(b"X-A: " + b"a" * 1017 + b"\r\n")
        except ConnectionError:
            return  # the answer was lost on the way, as data was still coming
        answer = answer_of(connection)
    assert not answer or answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01", b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_what_is_no_http_is_answered_in_the_documented_shape(hasty: RunningServer, sent: bytes) -> None:
    """400 with a code; TLS to a port without TLS is such a thing."""
    with connect(hasty) as connection:
        connection.sendall(sent)
        head, _, body = answer_of(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert msgspec.json.decode(body)["error"]["code"] == "bad_request"


@pytest.mark.parametrize("kind", ["keep-alive", "close"])
def test_a_client_that_reads_no_answer_is_given_up(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Its answer does not stay in memory for ever."""
    monkeypatch.setattr("server.connection.SEND_S", 0.2)  # the limits themselves, short enough to wait for
    monkeypatch.setattr("server.api_server.KEEP_ALIVE_S", 1)
    with running_server() as server:
        large = {"x": "y" * 7_000_000}  # more than the buffers of a socket hold
        url = f"{server.url}/api/jobs"
        job = httpx.post(url, headers=HEADERS, json={"parameters": large}, timeout=LIMIT_S).json()[0]["id"]
        wait_for_connections(server, 0)
        with connect(server) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            head = f"GET /api/jobs/{job} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}"
            connection.sendall(f"{head}\r\nConnection: {kind}\r\n\r\n".encode())
            wait_until(lambda: ("get_job", "200") in server.app.activity.requests)
            wait_for_connections(server, 0)


class SlowReader(asyncio.Transport):
    """The other side: what is left of an answer at each look, and when it is given up."""

    def __init__(self, *left_bytes: int) -> None:
        """Take what will be left."""
        super().__init__({"peername": ("192.0.2.1", 1), "sockname": ("192.0.2.2", 2)})
        self.left_bytes = list(left_bytes)
        self.given_up = asyncio.Event()

    def get_write_buffer_size(self) -> int:
        """Return what is left."""
        return self.left_bytes.pop(0)

    def abort(self) -> None:
        """Give it up."""
        self.given_up.set()

    def close(self) -> None:
        """Have nothing to close."""


def test_a_reader_of_a_stream_may_be_slow_and_not_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as something is taken between two looks it goes on: what is sent at once may be large."""
    monkeypatch.setattr("server.connection.SEND_S", 0.0)  # a look with each turn of the loop

    async def body() -> None:
        limits = ConnectionLimits(5, Activity())
        connection = Connection(Config(app=create_app(), http=Connection), ServerState(), limits)
        reader = SlowReader(100, 60, 60, 30, 30, 30, 5)
        connection.connection_made(reader)
        connection.pause_writing()
        await reader.given_up.wait()
        assert reader.left_bytes == [5]
        connection.pause_writing()
        connection.resume_writing()
        await asyncio.sleep(0.01)
        assert reader.left_bytes == []
        connection.connection_lost(None)

    run_async(body)


def test_a_file_that_nobody_reads_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nor is it held open: streams are under way as long as their readers want them."""
    monkeypatch.setattr("server.connection.SEND_S", 0.2)  # the limit itself, short enough to wait for
    content = b"x" * 16_000_000  # more than the buffers of a socket hold
    begun = {"startedAt": "2026-01-01T00:00:01Z"}
    with (
        running_server(files=[tmp_path]) as server,
        httpx.Client(base_url=server.url, headers=HEADERS) as api,
    ):
        job = api.post("/api/jobs", json={"type": "t"}).json()[0]["id"]
        task = api.post("/api/jobs/tasks", json={"type": "t", "jobId": job}).json()["id"]
        run = api.post("/api/jobs/runs", json={"taskId": task, "startedAt": "2026-01-01T00:00:01Z"}).json()[
            "id"
        ]
        path = tmp_path / run / "model.bin"
        path.parent.mkdir()
        path.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        file = {"name": "model.bin", "url": path.as_uri(), "size": len(content), "sha256": sha256}
        told = {**begun, "results": {"files": [file]}}
        assert api.put(f"/api/jobs/runs/{run}", json=told).status_code == 200
        api.close()
        wait_for_connections(server, 0)
        with connect(server) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            head = f"GET /ui/runs/{run}/files/0 HTTP/1.1\r\nHost: x\r\nCookie: {COOKIE}={TOKEN}"
            connection.sendall(f"{head}\r\n\r\n".encode())
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
            wait_for_connections(server, 0)
    assert path not in [one.resolve() for one in Path("/proc/self/fd").iterdir()]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    pause = threading.Event()
    for _ in range(int(LIMIT_S / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError(f"it does not hold after {LIMIT_S} s")


def wait_for_connections(server: RunningServer, count: int) -> None:
    """Wait until a server has so many connections."""
    wait_until(lambda: len(server._server.server_state.connections) == count)


def test_one_connection_too_many_is_told_so_and_there_is_room_again_later() -> None:
    """503 with Retry-After, and it is counted; those that are there notice nothing."""
    with running_server(max_connections=2) as server:
        held = [connect(server) for _ in range(2)]
        wait_for_connections(server, 2)
        answer = httpx.get(f"{server.url}/healthz")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.headers["connection"] == "close"
        assert answer.json()["error"]["code"] == "overloaded"
        assert server.app.activity.connections_refused == 1
        held[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in answer_of(held[0])
        wait_for_connections(server, 1)
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        for one in held:
            one.close()


def test_a_flood_of_connections_is_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond those that are told so, nothing is kept of one."""
    monkeypatch.setattr("server.connection.SPARE", 5)
    with running_server(max_connections=1) as server:
        flood = [connect(server) for _ in range(30)]
        wait_until(lambda: server.app.activity.connections_refused >= 24)
        wait_for_connections(server, 6)
        for one in flood:
            one.close()
        wait_for_connections(server, 0)
        assert httpx.get(f"{server.url}/healthz").status_code == 200
