"""Ask the metadata server of a cloud one question: bounded in time and size, past every proxy.

The address is the same in every cloud, and a literal: looking a name up could take longer than all of it.
Nothing of the environment is looked at, no redirect is followed, nothing is asked twice.
"""

from __future__ import annotations

import io
import re
import socket
import time
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from typing import cast

from msgspec import Struct

__all__ = ["ADDRESS", "MAX_BYTES", "Answer", "ask"]

ADDRESS = ("169.254.169.254", 80)  # link-local: it never leaves the host, or the node of a pod
MAX_BYTES = 64 * 1024  # of an answer, head and body; the largest that we ask for has some kilobytes
CHUNK_BYTES = 8192
FIELD = re.compile(r"[\x20-\x7e]*")  # what may stand in a line of the request


class Answer(Struct, frozen=True):
    """What came back: a status with the body, or the problem in words that hold nothing of the answer."""

    status: int = 0
    body: bytes = b""
    flavor: str = ""  # the header Metadata-Flavor, by which GCE says who it is
    problem: str = ""  # as the end of the sentence "the metadata …"


class TooMuchError(Exception):
    """The answer is larger than `MAX_BYTES`."""


class Bounded(io.RawIOBase):
    """What a connection receives, up to a moment and a size; each read gets what is left of both."""

    def __init__(self, connection: socket.socket, until_mono: float) -> None:
        self._connection = connection
        self._until_mono = until_mono
        self._left_bytes = MAX_BYTES

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Receive what there is.

        Raises:
            TimeoutError: the moment has come.
            TooMuchError: there is more than the size.
        """
        self._connection.settimeout(left_s(self._until_mono))
        size = self._connection.recv_into(memoryview(buffer)[: self._left_bytes + 1])
        self._left_bytes -= size
        if self._left_bytes < 0:
            raise TooMuchError
        return size

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the reader that `HTTPResponse` asks its socket for."""
        return io.BufferedReader(self, CHUNK_BYTES)


def ask(
    method: str, path: str, headers: Mapping[str, str], *, until_mono: float, host: str = ADDRESS[0]
) -> Answer:
    """Send one request and return the answer, or its problem, at `until_mono` at the latest."""
    request = written(method, path, {"Host": host, **headers})
    try:
        with socket.create_connection(ADDRESS, left_s(until_mono)) as connection:
            connection.settimeout(left_s(until_mono))
            connection.sendall(request)
            return received(connection, until_mono)
    except TimeoutError:
        return Answer(problem="did not answer in time")
    except TooMuchError:
        return Answer(problem=f"answered with more than {MAX_BYTES // 1024} KiB")
    except (HTTPException, ValueError):
        return Answer(problem="answered something that is no HTTP")
    except OSError as exc:
        return Answer(problem=f"could not be reached ({exc.strerror or type(exc).__name__})")


def written(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """Return the request; the server is asked to close the connection after its answer."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if not all(FIELD.fullmatch(line) for line in lines):
        raise ValueError("a line of the request holds what would end it")
    length = ["Content-Length: 0"] if method == "PUT" else []
    lines += ["Accept-Encoding: identity", "Connection: close", *length, "", ""]
    return "\r\n".join(lines).encode("ascii")


def received(connection: socket.socket, until_mono: float) -> Answer:
    """Read one answer."""
    response = HTTPResponse(cast("socket.socket", Bounded(connection, until_mono)))
    try:
        response.begin()
        body = response.read()
    finally:
        response.close()
    return Answer(response.status, body, response.getheader("Metadata-Flavor", ""))


def left_s(until_mono: float) -> float:
    """Return the seconds until a moment.

    Raises:
        TimeoutError: it is past.
    """
    left = until_mono - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
