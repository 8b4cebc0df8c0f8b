"""A metadata server as the clouds have it, in the words of their documentation; a case says what is odd.

One listens on the address of all of them and answers as the case wants: so do the clouds, each for its own.
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["AWS", "AZURE", "GCE", "QUIET", "Case", "serving", "taken"]

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
        '{"name": "vm_1", "location": "westeurope", "zone": "2",'
        ' "vmId": "02aab8a4-74ef-476e-8182-f6d2ba4166a6",'
        ' "vmSize": "Standard_NC4as_T4_v3", "priority": "Spot", "tags": "", "userData": "c2VjcmV0"}',
    ),
}
QUIET: dict[str, Reply] = {  # nobody is to be taken; AWS says that by 404
    GCE_BASE + "preempted": (200, "FALSE"),
    GCE_BASE + "maintenance-event": (200, "NONE"),
    "/metadata/scheduledevents": (200, '{"DocumentIncarnation": 1, "Events": []}'),
}


def taken(name: str = "vm_1") -> dict[str, Reply]:
    """Return what each cloud tells from now on of a machine that it takes away."""
    now = datetime.now(UTC)
    event = {
        "EventId": "602d9444-d2cd-49c7-8624-8643e7171297",
        "EventType": "Preempt",
        "ResourceType": "VirtualMachine",
        "Resources": ["vm_0", name],
        "EventStatus": "Scheduled",
        "NotBefore": format_datetime(now + timedelta(seconds=30), usegmt=True),
    }
    at = (now + timedelta(seconds=120)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        GCE_BASE + "preempted": (200, "TRUE"),
        AWS_BASE + "spot/instance-action": (200, json.dumps({"action": "terminate", "time": at})),
        "/metadata/scheduledevents": (200, json.dumps({"DocumentIncarnation": 2, "Events": [event]})),
    }


NOT_FOUND: Reply = (404, "not found: <secret>")


def etag_of(body: str) -> str:
    """Return the name of a value."""
    return hashlib.sha256(body.encode()).hexdigest()[:16]


class Case:
    """What the server does: replies by path, and what it does to every request instead."""

    def __init__(self, replies: Mapping[str, Reply], *, flavor: str = "Google", oddity: str = "") -> None:
        self.replies = dict(replies)  # may change while it is served
        self.flavor = flavor
        self.oddity = oddity  # hang, drip, giant, raw, redirect, or nothing
        self.token = "AQAEAtoken=="
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
            self.wait_for_change(path)
            self.reply(*self.server.case.replies.get(path, NOT_FOUND))

    def wait_for_change(self, path: str) -> None:
        """Hold a question that names the value it knows until there is another one, as GCE does."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if query.get("wait_for_change") != "true":
            return
        until = time.monotonic() + float(query["timeout_sec"])
        while etag_of(self.server.case.replies.get(path, NOT_FOUND)[1]) == query["last_etag"]:
            if time.monotonic() > until or self.server.released.wait(0.02):
                return

    def do_PUT(self) -> None:
        """Give a token, as AWS does."""
        self.server.case.requests.append(f"PUT {self.path}")
        if self.server.case.oddity:
            self.be_odd()
            return
        lives_s = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "0")
        is_aws = any(path.startswith(AWS_BASE) for path in self.server.case.replies)
        good = is_aws and self.path == "/latest/api/token" and 1 <= int(lives_s) <= 21600
        self.reply(*((200, self.server.case.token) if good else (404, "")))

    def refused(self, path: str) -> int:
        """Return the status for requests without the header of their cloud, 0 for good ones."""
        if "X-Forwarded-For" in self.headers:
            return 403
        if path.startswith("/computeMetadata/") and self.headers.get("Metadata-Flavor") != "Google":
            return 403
        if (
            path.startswith("/latest/")
            and self.headers.get("X-aws-ec2-metadata-token") != self.server.case.token
        ):
            return 401
        return 400 if path.startswith("/metadata/") and self.headers.get("Metadata") != "true" else 0

    def reply(self, status: int, body: str) -> None:
        """Write one answer."""
        content = body.encode()
        self.send_response(status)
        if self.path.startswith("/computeMetadata/") and self.server.case.flavor:
            self.send_header("Metadata-Flavor", self.server.case.flavor)
            self.send_header("ETag", etag_of(body))
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
