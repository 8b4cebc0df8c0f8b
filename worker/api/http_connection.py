"""One connection of HTTP/1.1: a request is written, its answer read as it comes.

The parser is httptools (llhttp), of an answer that is not plain (`plain_answer`); asyncio gives the bytes.
Nothing is retried here, and who sends ends in time what takes too long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache
from typing import Final

import httptools

from worker.api.faults import Cut, NotHttp
from worker.api.plain_answer import plain_answer

__all__ = ["NOT_HTTP", "Answer", "HttpConnection", "NoAnswer"]

HEAD_BYTES_MAX: Final = 64 * 1024  # of an answer's status line and headers, and of trailers
HELD_BYTES: Final = 256 * 1024  # of a body that nobody has taken yet; beyond that the socket waits
NAMES_KEPT: Final = 256  # of headers; an answer has a dozen, and always the same
NOT_HTTP: Final = "what answered does not speak HTTP"


class NoAnswer(NotHttp):
    """The connection ended before a byte of an answer; on a kept one the request may not have been seen."""


class Answer:
    """The answer to one request: its head, then its body piece by piece, for one reader."""

    def __init__(self, connection: HttpConnection, loop: asyncio.AbstractEventLoop, until: float) -> None:
        """Wait for a head on a connection, which is told when there is room, and when nobody reads any more.

        `until` is when it must be whole, in the time of the loop; `fail` is to be called then.
        """
        self.status = 0
        self.headers: Mapping[str, str] = {}  # names in lower case; of several of one name, the last
        self.until = until
        self.held_bytes = 0
        self.has_begun = False  # a byte of it came
        self.has_head = False
        self.is_whole = False
        self._pieces: deque[bytes] = deque()
        self._fault: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._connection: HttpConnection | None = connection
        self._loop = loop

    def coming(self) -> asyncio.Future[None]:
        """Return what is done when more of it has come, or nothing will.

        Raises: what nothing more comes for: `worker.api.faults.NotHttp` where no head does, `Cut` where it is
        cut, or not as the head says; TimeoutError.
        """
        if self._fault is not None:
            raise self._fault
        self._waiter = self._loop.create_future()
        return self._waiter

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the body. Raises: as `coming`."""
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self.held_bytes -= len(piece)
                if self._connection is not None:
                    self._connection.resume()
                yield piece
            if self.is_whole:
                return
            await self.coming()

    def whole(self) -> bytes | None:
        """Take the body where all of it is here; None where more is to come."""
        if not self.is_whole:
            return None
        pieces, self._pieces = self._pieces, deque()
        self.held_bytes = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def aclose(self) -> None:
        """Read no more. Twice does no harm."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.free()

    def add(self, piece: bytes) -> None:
        """Take a piece of the body."""
        self._pieces.append(piece)
        self.held_bytes += len(piece)

    def take(self, headers: Mapping[str, str], body: bytes) -> None:
        """Take all of a 200 at once."""
        self.status, self.headers = 200, headers
        self._pieces.append(body)
        self.has_head = self.is_whole = True

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
        self,
        loop: asyncio.AbstractEventLoop,
        on_free: Callable[[HttpConnection], None],
        on_lost: Callable[[HttpConnection], None],
    ) -> None:
        """`on_free` is called when an answer's reader is done, see `is_reusable`; `on_lost` at its end."""
        self.is_lost = False
        self.origin = ("", "")  # scheme, and host with port
        self.kept_at = 0.0  # loop time since when it has no request
        self._loop = loop
        self._on_free = on_free
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self.answer: Answer | None = None  # that is read from it now
        self._head_bytes = 0  # that came since the last piece of a body
        self._has_length = False
        self._headers: dict[str, str] = {}  # so far
        self._keeps_alive = False
        self._is_paused = False

    def send(self, request: bytes, until: float) -> Answer:
        """Write a whole request; return its answer, which is yet to come, and must until then."""
        answer = self.answer = Answer(self, self._loop, until)
        self._keeps_alive = False
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

    def free(self) -> None:
        """Know that nobody reads the answer any more."""
        answer, self.answer, self._parser = self.answer, None, None
        is_sent = self._transport is not None and not self._transport.get_write_buffer_size()
        if answer is None or not answer.is_whole or not is_sent or not self._keeps_alive:
            self.close()
        self._on_free(self)

    def resume(self) -> None:
        """Read on, where there is room again."""
        if self._is_paused and self.answer is not None and self.answer.held_bytes < HELD_BYTES:
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
        answer = self.answer
        if answer is None or answer.is_whole:
            self.close()
        elif not answer.has_begun and (plain := plain_answer(data)) is not None:
            self._keeps_alive = True
            answer.take(*plain)
            answer.wake()
        else:
            self._parse(answer, data)

    def _parse(self, answer: Answer, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            self._head_bytes, self._has_length, self._headers = 0, False, {}
            parser = self._parser = httptools.HttpResponseParser(self)
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
        answer = self.answer
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
        if self.answer is not None and self.answer.is_whole:
            self._keeps_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers come here too, and are nothing to us."""
        if self.answer is None or self.answer.has_head:
            return
        known = name_of(name)
        self._headers[known] = value.decode("latin-1")
        if known in ("content-length", "transfer-encoding"):
            self._has_length = True

    def on_headers_complete(self) -> None:
        """Take the status; one below 200 only says that the answer is on its way."""
        answer, parser = self.answer, self._parser
        if answer is None or parser is None or answer.is_whole:
            return
        status = parser.get_status_code()
        if 100 <= status < 200:
            self._headers.clear()
            self._has_length = False
            return
        answer.status, answer.headers, answer.has_head = status, self._headers, True

    def on_body(self, body: bytes) -> None:
        """Take a piece."""
        self._head_bytes = 0
        if self.answer is not None and not self.answer.is_whole:
            self.answer.add(body)

    def on_message_complete(self) -> None:
        """Know that the answer is whole."""
        answer = self.answer
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
