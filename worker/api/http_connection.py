"""One connection of HTTP/1.1: a request is written, its answer read as it comes.

The parser is httptools (llhttp); asyncio gives the bytes. Nothing is retried and no time limited here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from typing import Final

import httptools

from worker.api.faults import Cut, NotHttp

__all__ = ["NOT_HTTP", "Answer", "HttpConnection", "NoAnswer"]

HEAD_BYTES_MAX: Final = 64 * 1024  # of an answer's status line and headers, and of trailers
HELD_BYTES: Final = 256 * 1024  # of a body that nobody has taken yet; beyond that the socket waits
NAMES_KEPT: Final = 256  # of headers; an answer has a dozen, and always the same
NOT_HTTP: Final = "what answered does not speak HTTP"


class NoAnswer(NotHttp):
    """The connection ended before a byte of an answer; on a kept one the request may not have been seen."""


class Answer:
    """The answer to one request: its head, then its body piece by piece, for one reader."""

    def __init__(self, on_close: Callable[[], None], on_taken: Callable[[], None]) -> None:
        """Wait for a head; `on_close` is called when nobody reads any more, `on_taken` when there is room."""
        self.status = 0
        self.headers: dict[str, str] = {}  # names in lower case; of several of one name, the last
        self.held_bytes = 0
        self.has_begun = False  # a byte of it came
        self.has_head = False
        self.is_whole = False
        self._pieces: deque[bytes] = deque()
        self._fault: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._on_close: Callable[[], None] | None = on_close
        self._on_taken = on_taken
        self._limit: asyncio.TimerHandle | None = None

    def end_at(self, until: float) -> None:
        """Bound it: what has not come by then, in the time of the loop, fails with TimeoutError."""
        self._limit = asyncio.get_running_loop().call_at(until, self.fail, TimeoutError("it took too long"))

    def unbound(self) -> None:
        """Bound it no more: nobody waits."""
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    async def head(self) -> None:
        """Wait for status and headers.

        Raises: `worker.api.faults.NotHttp` where none come; TimeoutError.
        """
        while not self.has_head:
            await self._more()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the body.

        Raises: `worker.api.faults.Cut` where it is cut, or not as the head says; TimeoutError.
        """
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self.held_bytes -= len(piece)
                self._on_taken()
                yield piece
            if self.is_whole:
                return
            await self._more()

    def whole(self) -> bytes | None:
        """Take the body where all of it is here; None where more is to come."""
        if not self.is_whole:
            return None
        pieces, self._pieces = self._pieces, deque()
        self.held_bytes = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def aclose(self) -> None:
        """Read no more. Twice does no harm."""
        self.unbound()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()

    async def _more(self) -> None:
        if self._fault is not None:
            raise self._fault
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def add(self, piece: bytes) -> None:
        """Take a piece of the body."""
        self._pieces.append(piece)
        self.held_bytes += len(piece)

    def fail(self, fault: Exception) -> None:
        """Know that nothing more comes, and why."""
        if self._fault is None and not self.is_whole:
            self._fault = fault
            self.wake()

    def wake(self) -> None:
        """Let the reader look."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class HttpConnection(asyncio.Protocol):
    """A connection, for one request after another."""

    def __init__(
        self, on_free: Callable[[HttpConnection], None], on_lost: Callable[[HttpConnection], None]
    ) -> None:
        """`on_free` is called when an answer's reader is done, see `is_reusable`; `on_lost` at its end."""
        self.is_lost = False
        self.origin = ("", "")  # scheme, and host with port
        self.kept_at = 0.0  # loop time since when it has no request
        self._on_free = on_free
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._answer: Answer | None = None
        self._head_bytes = 0  # that came since the last piece of a body
        self._has_length = False
        self._keeps_alive = False
        self._is_paused = False

    def send(self, request: bytes) -> Answer:
        """Write a whole request; return its answer, which is yet to come."""
        answer = self._answer = Answer(self._free, self._resume)
        self._head_bytes, self._has_length, self._keeps_alive = 0, False, False
        self._parser = httptools.HttpResponseParser(self)
        if self.is_lost or self._transport is None:
            answer.fail(NoAnswer("the server closed the connection"))
        else:
            self._transport.write(request)
        return answer

    @property
    def is_reusable(self) -> bool:
        """Tell whether another request may be sent: the last answer came whole, and nothing after it."""
        return self._keeps_alive and not self.is_lost

    def close(self) -> None:
        """Close it now; who waits for an answer is told."""
        self._keeps_alive = False
        if self._transport is not None:
            self._transport.abort()

    def _free(self) -> None:
        answer, self._answer, self._parser = self._answer, None, None
        is_sent = self._transport is not None and not self._transport.get_write_buffer_size()
        if answer is None or not answer.is_whole or not is_sent or not self._keeps_alive:
            self.close()
        self._on_free(self)

    def _resume(self) -> None:
        if self._is_paused and self._answer is not None and self._answer.held_bytes < HELD_BYTES:
            self._is_paused = False
            if self._transport is not None and not self.is_lost:
                self._transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read a part of an answer; what nobody asked for ends the connection."""
        answer, parser = self._answer, self._parser
        if answer is None or parser is None or answer.is_whole:
            self.close()
            return
        answer.has_begun = True
        self._head_bytes += len(data)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):  # the second: a 101, not asked for
            answer.fail(self._unreadable(answer))
            self.close()
        else:
            self._bound(answer)
        answer.wake()

    def _bound(self, answer: Answer) -> None:
        """Hold no more of an answer than is allowed; the parser keeps a trailer until its end."""
        if self._head_bytes > HEAD_BYTES_MAX and not answer.is_whole:
            answer.fail(self._unreadable(answer))
            self.close()
        elif answer.held_bytes > HELD_BYTES and not answer.is_whole and not self._is_paused:
            self._is_paused = True
            if self._transport is not None:
                self._transport.pause_reading()

    def _unreadable(self, answer: Answer) -> Exception:
        if answer.has_head:
            return Cut("the answer is not as its head says")
        return NotHttp(NOT_HTTP)

    def eof_received(self) -> None:
        """Know that nothing more comes, though a part of the request may be unsent: nobody reads it."""
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Know that nothing more comes: an answer without a length ends so."""
        self.is_lost = True
        answer = self._answer
        if answer is not None and not answer.is_whole:
            if answer.has_head and exc is None and not self._has_length:
                answer.is_whole = True
                answer.wake()
            else:
                answer.fail(lost(answer, exc))
        self._on_lost(self)

    # httptools: what the parser sees

    def on_message_begin(self) -> None:
        """See that only one answer comes to a request."""
        if self._answer is not None and self._answer.is_whole:
            self._keeps_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers come here too, and are nothing to us."""
        if self._answer is None or self._answer.has_head:
            return
        known = name_of(name)
        self._answer.headers[known] = value.decode("latin-1")
        if known in ("content-length", "transfer-encoding"):
            self._has_length = True

    def on_headers_complete(self) -> None:
        """Take the status; one below 200 only says that the answer is on its way."""
        answer, parser = self._answer, self._parser
        if answer is None or parser is None or answer.is_whole:
            return
        status = parser.get_status_code()
        if 100 <= status < 200:
            answer.headers.clear()
            self._has_length = False
            return
        answer.status, answer.has_head = status, True

    def on_body(self, body: bytes) -> None:
        """Take a piece."""
        self._head_bytes = 0
        if self._answer is not None and not self._answer.is_whole:
            self._answer.add(body)

    def on_message_complete(self) -> None:
        """Know that the answer is whole."""
        answer = self._answer
        if answer is not None and answer.has_head and not answer.is_whole and self._parser is not None:
            answer.is_whole = True
            self._keeps_alive = self._parser.should_keep_alive()


@lru_cache(NAMES_KEPT)
def name_of(name: bytes) -> str:
    """Return a header's name as it is looked up."""
    return name.decode("latin-1").lower()


def lost(answer: Answer, exc: Exception | None) -> Exception:
    """Return what the end of a connection means for who waits."""
    if answer.has_head:
        return Cut("the answer was cut")
    if answer.has_begun:
        return NotHttp(NOT_HTTP)
    return NoAnswer("the server closed the connection" if exc is None else str(exc) or type(exc).__name__)
