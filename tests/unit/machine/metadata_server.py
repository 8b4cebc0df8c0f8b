"""A metadata server as the clouds have it, in the words of their documentation; a case says what is odd.

One listens on the address of all of them and answers as the case wants: so do the clouds, each for its own.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["AWS", "AZURE", "GCE", "Case", "serving"]

Reply = tuple[int, str]  # status and body

GCE_BASE = "/computeMetadata/v1/instance/"
GCE: dict[str, Reply] = {
    GCE_BASE + "id": (200, "6124890734412387123"),
    GCE_BASE + "zone": (200, "projects/123456/zones/europe-west4-a"),
    GCE_BASE + "machine-type": (200, "projects/123456/machineTypes/g2-standard-4"),
    GCE_BASE + "cpu-platform": (200, "Intel Cascade Lake"),
    GCE_BASE + "scheduling/preemptible": (200, "TRUE"),
}
AWS_BASE = "/latest/meta-data/"
AWS: dict[str, Reply] = {
    AWS_BASE + "instance-id": (200, "i-0123456789abcdef0"),
    AWS_BASE + "instance-type": (200, "g6.2xlarge"),
    AWS_BASE + "placement/availability-zone": (200, "eu-central-1b"),
    AWS_BASE + "instance-life-cycle": (200, "spot"),
}
AZURE: dict[str, Reply] = {
    "/metadata/instance/compute": (
        200,
        '{"location": "westeurope", "zone": "2", "vmId": "02aab8a4-74ef-476e-8182-f6d2ba4166a6",'
        ' "vmSize": "Standard_NC4as_T4_v3", "priority": "Spot", "tags": "", "userData": "c2VjcmV0"}',
    ),
}
TOKEN = "AQAEAtoken=="


class Case:
    """What the server does: replies by path, and what it does to every request instead."""

    def __init__(self, replies: Mapping[str, Reply], *, flavor: str = "Google", oddity: str = "") -> None:
        self.replies = replies
        self.flavor = flavor
        self.oddity = oddity  # hang, drip, giant, raw, redirect, or nothing
        self.requests: list[str] = []  # method, path and whether the headers were right


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        """Answer a question."""
        path = self.path.partition("?")[0]
        refused = self.refused(path)
        self.server.case.requests.append(f"GET {self.path}" + (" refused" if refused else ""))
        if self.server.case.oddity:
            self.be_odd()
        elif refused:
            self.reply(refused, "")
        else:
            self.reply(*self.server.case.replies.get(path, (404, "not found: <secret>")))

    def do_PUT(self) -> None:
        """Give a token, as AWS does."""
        self.server.case.requests.append(f"PUT {self.path}")
        if self.server.case.oddity:
            self.be_odd()
            return
        lives_s = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "0")
        is_aws = any(path.startswith(AWS_BASE) for path in self.server.case.replies)
        good = is_aws and self.path == "/latest/api/token" and 1 <= int(lives_s) <= 21600
        self.reply(*((200, TOKEN) if good else (404, "")))

    def refused(self, path: str) -> int:
        """Return the status for requests without the header of their cloud, 0 for good ones."""
        if "X-Forwarded-For" in self.headers:
            return 403
        if path.startswith("/computeMetadata/") and self.headers.get("Metadata-Flavor") != "Google":
            return 403
        if path.startswith("/latest/") and self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
            return 401
        return 400 if path.startswith("/metadata/") and self.headers.get("Metadata") != "true" else 0

    def reply(self, status: int, body: str) -> None:
        """Write one answer."""
        content = body.encode()
        self.send_response(status)
        if self.path.startswith("/computeMetadata/") and self.server.case.flavor:
            self.send_header("Metadata-Flavor", self.server.case.flavor)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def be_odd(self) -> None:
        """Do what no metadata server should."""
        oddity, self.close_connection = self.server.case.oddity, True
        if oddity == "raw":
            self.wfile.write(b"\x16\x03\x01<secret>\r\n\r\n")
        elif oddity == "redirect":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif oddity == "giant":
            self.pour(b"x" * 65536, pause_s=0)
        elif oddity == "drip":
            self.pour(b"x", pause_s=0.05)
        else:
            self.server.released.wait()

    def pour(self, chunk: bytes, pause_s: float) -> None:
        """Send an answer without an end, until the other side has had enough."""
        self.send_response(200)
        self.send_header("Metadata-Flavor", "Google")
        self.end_headers()
        try:
            while not self.server.released.wait(pause_s):
                self.wfile.write(chunk)
        except OSError:
            return  # it closed the connection

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the base has
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """The server with its case."""

    case: Case
    released: threading.Event
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """Say nothing where the other side has closed early."""


@contextmanager
def serving(address: tuple[str, int], case: Case) -> Iterator[Case]:
    """Serve a case while the block runs."""
    with Server(address, Handler) as server:
        server.case, server.released = case, threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield case
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
