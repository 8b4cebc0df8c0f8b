"""The head of an answer and its body, or the beginning of it, as one write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cached_property

from uvicorn._types import HTTPScope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from server.http.date import date_now

__all__ = ["JoinedWrites", "WholeCycle", "WholeExchange"]


class JoinedWrites:
    """What an answer of uvicorn writes to: the transport, but for the first piece, which waits for the next.

    uvicorn writes the head by itself. Whoever waits for the answer is woken by that, often in place of this
    process, and reads twice. What comes without a next piece goes out when the loop comes round.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Begin an answer."""
        self._transport = transport
        self._loop = loop
        self._held: bytes | None = None
        self._is_joined = False  # what follows is written as it comes

    def write(self, data: bytes) -> None:
        """Write, or hold the first piece."""
        if self._is_joined:
            self._transport.write(data)
        elif self._held is None:
            self._held = data
            self._loop.call_soon(self._let_go)
        else:
            held, self._held, self._is_joined = self._held, None, True
            self._transport.write(held + data)

    def write_whole(self, data: bytes) -> None:
        """Write all of an answer now, after what is held."""
        self._let_go()
        self._is_joined = True
        self._transport.write(data)

    def close(self) -> None:
        """Close the transport once what is held is out."""
        self._let_go()
        self._transport.close()

    def is_closing(self) -> bool:
        """Tell whether the transport is being closed."""
        return self._transport.is_closing()

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None and not self._transport.is_closing():
            self._transport.write(held)


class WholeExchange:
    """A request of uvicorn and its answer as wholes, where uvicorn's own state of it allows that."""

    def __init__(self, cycle: RequestResponseCycle, joined: JoinedWrites) -> None:
        """Take a request whose head has been read, and what its answer is written to."""
        self._cycle = cycle
        self._joined = joined

    @property
    def is_there(self) -> bool:
        """Tell whether the other side has not gone."""
        return not self._cycle.disconnected

    def take_body(self) -> bytes | None:
        """Return the body if all of it is there, once."""
        return _body(self._cycle)

    def answer(self, status: int, head: bytes, body: bytes) -> bool:
        """Answer; what uvicorn does at the end of an answer is done too."""
        is_sent = _answer(self._cycle, self._joined.write_whole, status, head, body)
        if is_sent:
            self._cycle.message_event.set()
        return is_sent


class WholeCycle(RequestResponseCycle):
    """uvicorn's state of a request that was whole when it came, by HTTP/1.1; its `Exchange`, too.

    What messages alone need is made when the first one is sent or received.
    """

    disconnected = False
    keep_alive = True  # unless the server ends meanwhile
    waiting_for_100_continue = False
    more_body = False
    response_started = False
    response_complete = False
    access_log = False
    chunked_encoding = None
    expected_content_length = 0

    def __init__(self, scope: HTTPScope, content: bytes, connection: HttpToolsProtocol) -> None:
        """Take a request with its body; the base's own beginning would make what is not needed."""
        self.scope = scope
        self.body = content  # type: ignore[assignment]
        self.flow = connection.flow
        self.logger = connection.logger
        self.on_response = connection.on_response_complete
        self._connection = connection

    @cached_property
    def message_event(self) -> asyncio.Event:  # type: ignore[override]
        """Return what `receive` waits for: the body is there."""
        event = asyncio.Event()
        event.set()
        return event

    @cached_property
    def transport(self) -> JoinedWrites:  # type: ignore[override]
        """Return what messages are written to."""
        return JoinedWrites(self._connection.transport, self._connection.loop)

    @cached_property
    def default_headers(self) -> list[tuple[bytes, bytes]]:  # type: ignore[override]
        """Return the headers of the server."""
        return [(b"date", date_now())]

    @property
    def is_there(self) -> bool:
        """Tell whether the other side has not gone."""
        return not self.disconnected

    def take_body(self) -> bytes | None:
        """Return the body, once."""
        return _body(self)

    def answer(self, status: int, head: bytes, body: bytes) -> bool:
        """Answer; what uvicorn does at the end of an answer is done too."""
        is_sent = _answer(self, self._connection.transport.write, status, head, body)
        if is_sent and "message_event" in self.__dict__:  # somebody waits for the client to go away
            self.message_event.set()
        return is_sent


def _body(cycle: RequestResponseCycle) -> bytes | None:
    if cycle.more_body or cycle.disconnected:
        return None
    content, cycle.body = bytes(cycle.body), bytearray()
    return content


def _answer(
    cycle: RequestResponseCycle, write: Callable[[bytes], None], status: int, head: bytes, body: bytes
) -> bool:
    if cycle.response_started or cycle.disconnected or cycle.flow.write_paused:
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    date = b"date: %b\r\n" % date_now()
    end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
    content = b"" if cycle.scope["method"] == "HEAD" else body
    write(b"".join((STATUS_LINE[status], date, head, end, content)))
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
