"""A server of raw bytes that misbehaves as it is told: over real sockets, on the test's own loop.

What it does with a request is an act: a coroutine function that gets the request and the connection.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.accepting import stop_accepting

__all__ = [
    "Act",
    "Asked",
    "MisbehavingServer",
    "answer",
    "drip",
    "end_after",
    "hang",
    "head",
    "json_answer",
    "misbehaving",
    "reset_after",
    "send",
    "stall_after",
    "stream",
]

JSON: Final = "application/json"
DRIP_S: Final = 0.05  # between two bytes: far below any limit of a request
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: the close sends an RST


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """What stands before the query."""
        return self.target.partition("?")[0]


Act = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


class MisbehavingServer:
    """A running server, as tests see it; `act` may be changed at any time."""

    def __init__(self, act: Act) -> None:
        """Do this with every request."""
        self.act = act
        self.asked: list[Asked] = []
        self.connections = 0  # that were ever opened
        self.url = ""
        self._open: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()

    async def until(self, holds: Callable[[], object], limit_s: float = 30.0) -> None:
        """Wait until a condition holds; it is asked after every request."""
        async with asyncio.timeout(limit_s), self._changed:
            await self._changed.wait_for(lambda: bool(holds()))

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until somebody ends it."""
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while True:
                asked = await read_request(reader)
                async with self._changed:
                    self.asked.append(asked)
                    self._changed.notify_all()
                await self.act(asked, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._open.discard(task)
            writer.close()

    async def until_left(self) -> None:
        """Wait until the other side has closed every connection that was opened before."""
        reader, writer = await asyncio.open_connection(*self.url.removeprefix("http://").split(":"))
        writer.close()  # they come in their order: those before it are here when it is
        await reader.read()
        await asyncio.gather(*self._open)

    async def end(self) -> None:
        """End every connection."""
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> Asked:
    """Read one request; its body by length, as our client sends it."""
    raw = await reader.readuntil(b"\r\n\r\n")
    first, *lines = raw.decode("latin-1").strip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(method, target, headers, body)


@asynccontextmanager
async def misbehaving(act: Act, host: str = "127.0.0.1") -> AsyncIterator[MisbehavingServer]:
    """Serve on a free port until the end of the block."""
    server = MisbehavingServer(act)
    listening = await asyncio.start_server(server.connected, host, 0)
    server.url = f"http://{host}:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        await stop_accepting(listening)
        await server.end()


# What is sent


def head(status: int | str = 200, *, length: int | None = None, kind: str = JSON, **headers: str) -> bytes:
    """Return the head of an answer; names of headers are given with underscores."""
    told: dict[str, str | int] = {"Content-Type": kind, **headers}
    if length is not None:
        told["Content-Length"] = length
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in told.items()]
    return "\r\n".join([f"HTTP/1.1 {status} Status", *lines, "", ""]).encode("latin-1")


def answer(body: bytes, status: int | str = 200, *, kind: str = JSON, **headers: str) -> bytes:
    """Return a whole answer with its true length."""
    return head(status, length=len(body), kind=kind, **headers) + body


def json_answer(value: Any, status: int = 200, **headers: str) -> bytes:
    """Return a whole answer of JSON."""
    body = json.dumps(value).encode()
    return head(status, length=len(body), **headers) + body


# Acts


def send(content: bytes) -> Act:
    """Send this, and keep the connection."""

    async def act(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()

    return act


def end_after(content: bytes) -> Act:
    """Send this, and end the connection in order."""

    async def act(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()
        writer.close()
        raise ConnectionResetError("the end of the answer is the end of the connection")

    return act


def stall_after(content: bytes) -> Act:
    """Send this, and then nothing until the other side gives up."""

    async def act(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()
        await asyncio.Event().wait()

    return act


hang: Final = stall_after(b"")


def drip(start: bytes, pieces: Callable[[], Iterable[bytes]]) -> Act:
    """Send a beginning, and then a little now and then: never a pause as long as a limit."""

    async def act(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        for piece in pieces():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(DRIP_S)  # the misbehaviour itself; no test waits for it

    return act


def reset_after(content: bytes) -> Act:
    """Send this, and reset the connection."""

    async def act(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()
        raise ConnectionResetError

    return act


def stream(start: bytes, pieces: Callable[[], Iterable[bytes]]) -> Act:
    """Send a head, then pieces as fast as they are taken, as one chunked body."""

    async def act(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        for piece in pieces():
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    return act
