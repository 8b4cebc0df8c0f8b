"""The head of an answer and its body, or the beginning of it, as one write."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from server.http.date import date_now

__all__ = ["JoinedWrites", "WholeExchange"]


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

    def __init__(self, cycle: RequestResponseCycle, flow: FlowControl, joined: JoinedWrites) -> None:
        """Take a request whose head has been read, and what its answer is written to."""
        self._cycle = cycle
        self._flow = flow
        self._joined = joined

    def body(self) -> bytes | None:
        """Return the body if all of it is there, once."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected:
            return None
        content, cycle.body = bytes(cycle.body), bytearray()
        return content

    def answer(self, status: int, head: bytes, body: bytes) -> bool:
        """Answer; what uvicorn does at the end of an answer is done too."""
        cycle = self._cycle
        if cycle.response_started or cycle.disconnected or self._flow.write_paused:
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        date = b"date: %b\r\n" % date_now()
        end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        content = b"" if cycle.scope["method"] == "HEAD" else body
        self._joined.write_whole(b"".join((STATUS_LINE[status], date, head, end, content)))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self._joined.close()
        cycle.on_response()
        return True
