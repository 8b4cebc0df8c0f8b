"""A server of files for tests of inputs: it breaks off, redirects, revalidates and counts, as it is told."""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["FileServer", "file_server"]


class FileServer:
    """What is served, and what was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.statuses: dict[str, list[int]] = {}  # answered first, one after another
        self.headers: dict[str, str] = {}  # of every answer
        self.break_after: list[
            int
        ] = []  # bytes of the next bodies that are sent before the connection breaks
        self.has_etags = True
        self.has_ranges = True
        self.is_weak = False
        self.has_length = True
        self.part_headers: dict[str, str | None] = {}  # of a 206, instead of what is so; None: left out
        self.slow_s = 0.0  # between two blocks
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.sent_bytes = 0
        self.on_block: Callable[[], None] = lambda: None

    def etag(self, path: str) -> str:
        """Return the ETag of a file."""
        return ("W/" if self.is_weak else "") + f'"{hashlib.md5(self.files[path]).hexdigest()}"'  # noqa: S324

    def asks(self, name: str) -> list[str | None]:
        """Return what each request said in a header."""
        return [headers.get(name) for _, headers in self.asked]


class Answers(BaseHTTPRequestHandler):
    """Answer by what the server holds."""

    server: Any

    def do_GET(self) -> None:
        """Answer one request."""
        told: FileServer = self.server.told
        path = self.path.partition("?")[0]
        told.asked.append((self.path, dict(self.headers)))
        if statuses := told.statuses.get(path):
            self.head(statuses.pop(0), {"Content-Length": "0"})
        elif path in told.redirects:
            self.head(302, {"Location": told.redirects[path], "Content-Length": "0"})
        elif path not in told.files:
            self.head(404, {"Content-Length": "0"})
        elif told.has_etags and self.headers.get("If-None-Match") == told.etag(path):
            self.head(304, {"ETag": told.etag(path)})
        else:
            self.send_file(told, path)

    def send_file(self, told: FileServer, path: str) -> None:
        """Send a file, or the part of it that was asked for."""
        body, headers = told.files[path], {}
        status = 200
        if told.has_etags:
            headers["ETag"] = told.etag(path)
        wanted = self.headers.get("Range")
        if wanted and told.has_ranges and self.headers.get("If-Range") == headers.get("ETag"):
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
        if told.has_length:
            headers["Content-Length"] = str(len(body))
        if status == 206:
            said = {**headers, **told.part_headers}
            headers = {name: value for name, value in said.items() if value is not None}
        self.head(status, headers)
        if told.break_after:
            body = body[: told.break_after.pop(0)]
            self.close_connection = True
        try:
            for start in range(0, len(body), 64 * 1024):
                block = body[start : start + 64 * 1024]
                told.sent_bytes += len(block)  # before: who has read all of it may look at once
                self.wfile.write(block)
                told.on_block()
                time.sleep(told.slow_s)
        except OSError:  # the client had enough
            self.close_connection = True

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Send a status with headers."""
        self.send_response(status)
        for name, value in {**headers, **self.server.told.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""


@contextmanager
def file_server(context: ssl.SSLContext | None = None) -> Iterator[FileServer]:
    """Give a server; over TLS with a context."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.told = FileServer()
    scheme = "http" if context is None else "https"
    server.told.url = f"{scheme}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
