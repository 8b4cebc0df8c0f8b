"""Files of the spool for tests of stores, and a server that takes PUT."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from worker.storage.file import SpooledFile

__all__ = ["PutServer", "put_server", "spooled"]


def spooled(
    folder: Path, content: bytes, name: str = "a.glb", content_type: str = "model/gltf-binary"
) -> tuple[SpooledFile, Path]:
    """Write a file as the spool holds it."""
    path = folder / "0"
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    file = SpooledFile(
        name=name, path="run/0", size_bytes=len(content), sha256=sha256, content_type=content_type
    )
    return file, path


class PutServer(ThreadingHTTPServer):
    """Take files by PUT, whole or not at all; answer what it is told to."""

    daemon_threads = True

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        """Listen, with TLS where there is a context."""
        super().__init__(("127.0.0.1", port), Put)
        self.scheme = "http" if context is None else "https"
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.files: dict[str, bytes] = {}
        self.headers: list[dict[str, str]] = []
        self.targets: list[str] = []
        self.statuses: list[int] = []  # given in turn, then 201
        self.retry_after: str | None = None

    @property
    def url(self) -> str:
        """Where it answers, without a path."""
        return f"{self.scheme}://127.0.0.1:{self.server_port}"


class Put(BaseHTTPRequestHandler):
    """One request."""

    server: PutServer

    def do_PUT(self) -> None:
        """Keep what came whole."""
        length = int(self.headers["content-length"])
        content = self.rfile.read(length)
        if len(content) != length:
            return
        self.server.targets.append(self.path)
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        status = self.server.statuses.pop(0) if self.server.statuses else 201
        if status < 300:
            self.server.files[self.path] = content
        self.send_response(status)
        self.send_header("content-length", "0")
        if self.server.retry_after:
            self.send_header("retry-after", self.server.retry_after)
        if 300 <= status < 400:
            self.send_header("location", f"{self.server.url}/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""


@contextmanager
def put_server(port: int = 0, context: ssl.SSLContext | None = None) -> Iterator[PutServer]:
    """Give a server, on a free port by default; stop it afterwards."""
    server = PutServer(port, context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
