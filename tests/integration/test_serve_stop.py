"""How a server ends: what was asked is answered, and its socket waits for the next one."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.integration.ports import free_port
from tests.integration.serving import LIMIT_S, MILLHAND, TOKEN, environment, serving, wait_for

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


def test_a_stop_answers_who_waits_and_who_is_just_sending(tmp_path: Path) -> None:
    """A poll that waits gets its empty list early; a request that is half sent gets its answer."""
    answers: list[httpx.Response] = []
    with serving(tmp_path, "--metrics-port", str(free_port())) as server:
        url = httpx.URL(server.url)

        def poll() -> None:
            with server.client() as client:
                waits = {"Prefer": "wait=60"}
                answers.append(client.get("/api/jobs/tasks?runStatus=pending", headers=waits))

        polling = threading.Thread(target=poll)
        polling.start()
        body = b'{"id": "half-sent"}'
        with (
            socket.create_connection((url.host, url.port or 0), LIMIT_S) as half,
            socket.create_connection((url.host, url.port or 0), LIMIT_S) as fresh,
        ):
            head = f"POST /api/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            half.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:5])
            wait_until_three_are_known(server.lines)
            server.process.terminate()
            half.sendall(body[5:])
            assert all_of(half).startswith(b"HTTP/1.1 200 OK")
            polling.join(LIMIT_S)
            assert server.process.wait(LIMIT_S) == 0
            assert all_of(fresh) == b""
        assert answers[0].json() == {"tasks": []}
        assert answers[0].headers["connection"] == "close"


def test_a_second_signal_ends_the_delay_and_no_request(tmp_path: Path) -> None:
    """What was half sent before the first one is answered after the second, and the process ends well."""
    with serving(tmp_path, "--shutdown-delay", "10m") as server:
        url = httpx.URL(server.url)
        body = b'{"id": "half-sent"}'
        with socket.create_connection((url.host, url.port or 0), LIMIT_S) as half:
            head = f"POST /api/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            half.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:5])
            with server.client() as client:  # behind the other one: its head was read
                assert client.get("/api/jobs").json() == {"jobs": []}
                server.process.terminate()
                wait_for(lambda: server.lines("server.draining"), "the delay")
                assert client.get("/readyz").status_code == 503
                assert client.post("/api/jobs", json={"id": "in-the-delay"}).status_code == 200
            server.process.terminate()
            half.sendall(body[5:])
            answer = all_of(half)
        assert server.process.wait(LIMIT_S) == 0
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in answer.lower()
    server.log.unlink()  # the next one is found by its own
    with serving(tmp_path) as again, again.client() as client:
        assert {job["id"] for job in client.get("/api/jobs").json()["jobs"]} == {"half-sent", "in-the-delay"}


def wait_until_three_are_known(lines: Any) -> None:
    """Ask the operators' page how many connections there are, and how many wait."""
    (page,) = wait_for(lambda: lines("page.opened"), "the page")

    def known() -> bool:
        text = httpx.get(f"{page['address']}/metrics", timeout=LIMIT_S).text
        return "millhand_server_connections 3.0" in text and "millhand_server_waiting_polls 1.0" in text

    wait_for(known, "three connections, one of them waiting")


def all_of(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            received += part
    return received


@contextlib.contextmanager
def activated(folder: Path, listening: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    """Serve on a socket that is held for the server, as a service manager does (sd_listen_fds(3))."""
    # The variable names the process itself, which a shell knows before it becomes the server.
    script = 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3<&"$HELD"'
    held = str(listening.fileno())
    with (folder / "serve.log").open("ab") as log:
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", *MILLHAND, "serve", "--port", "1"],
            env={**environment(folder), "MILLHAND_SERVER_TOKEN": TOKEN, "HELD": held},
            pass_fds=[listening.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(LIMIT_S)


def test_a_restart_behind_a_held_socket_loses_no_request(tmp_path: Path) -> None:
    """Clients that connect while one server ends and the next one starts are answered by the next."""
    made: list[str] = []
    failed: list[str] = []
    listed: set[str] = set()
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"

        def ask() -> None:
            while not stop.is_set():
                id_ = str(uuid4())
                try:
                    answer = httpx.post(
                        f"{url}/api/jobs", headers=AUTHORIZED, json={"id": id_}, timeout=LIMIT_S
                    )
                    (made if answer.status_code == 200 else failed).append(id_)
                except httpx.HTTPError as exc:
                    failed.append(f"{id_}: {exc!r}")

        asking = [threading.Thread(target=ask) for _ in range(4)]
        for restart in range(3):
            with activated(tmp_path, listening) as process:
                if restart == 0:
                    for one in asking:
                        one.start()
                wanted = len(made) + 10
                wait_for(partial(is_done, made, failed, wanted), "answers")
                if restart == 2:
                    stop.set()
                    for one in asking:
                        one.join(LIMIT_S)
                    listed = known_jobs(url, made)
                process.terminate()
                assert process.wait(LIMIT_S) == 0, (tmp_path / "serve.log").read_text()
    assert failed == []
    assert listed == set(made)


def is_done(made: list[str], failed: list[str], wanted: int) -> bool:
    """Tell whether enough was made, or something failed."""
    return len(made) > wanted or bool(failed)


def known_jobs(url: str, ids: list[str]) -> set[str]:
    """Return those of the jobs that the server has."""
    with httpx.Client(base_url=url, headers=AUTHORIZED, timeout=LIMIT_S) as client:
        return {id_ for id_ in ids if client.get(f"/api/jobs/{id_}").status_code == 200}


def test_a_held_socket_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    """No server starts somewhere else in silence."""
    with socket.socket() as not_listening, activated(tmp_path, not_listening) as process:
        assert process.wait(LIMIT_S) == 1
        assert "does not listen" in (tmp_path / "serve.log").read_text()
    assert "LISTEN_PID" not in os.environ


def test_what_a_service_manager_gave_to_another_process_is_left_alone(tmp_path: Path) -> None:
    """A child of a service that was given a socket has the variables, too, and not the socket."""
    given = {"LISTEN_FDS": "1", "LISTEN_PID": "1"}
    with serving(tmp_path, variables=given) as server, server.client() as client:
        assert client.get("/api/jobs").status_code == 200
