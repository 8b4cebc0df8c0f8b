"""A connection that nobody can hold for nothing: heads that never end, answers that are never read.

uvicorn limits how long a connection may be idle between two requests, and nothing else. The time of a
body is limited where it is read.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from server.activity import Activity
from server.http.answer import Answer, failure
from server.http.date import date_now
from server.http.exchange import offer
from server.http.failure import ApiError
from server.http.load import RETRY_AFTER_S
from server.http.request import ask
from server.joined import JoinedWrites, WholeCycle, WholeExchange
from server.known_heads import KnownHeads, KnownRequest

__all__ = ["HEAD_BYTES", "HEAD_S", "Connection", "ConnectionLimits"]

HEAD_S: Final = 15.0  # from the first byte of a request, or the connection, to the end of its head
HEAD_BYTES: Final = 64 * 1024  # of a head that comes in many parts
SEND_S: Final = 60.0  # for an answer to be taken by the other side, or for any of one that is a stream
LINGER_S: Final = 0.5  # for a request that is on its way when the server ends
SPARE: Final = 100  # connections beyond the most that are told so; further ones are closed at once

REASONS: Final = {400: "Bad Request", 431: "Request Header Fields Too Large"}


class ConnectionLimits:
    """How many connections there may be, and how long a head may take."""

    def __init__(self, most: int, activity: Activity, *, head_s: float = HEAD_S) -> None:
        """Count those that are refused into `activity`."""
        self.most = most
        self.activity = activity
        self.head_s = head_s


class Connection(HttpToolsProtocol):
    """uvicorn's protocol of HTTP/1.1, with limits."""

    def __init__(self, config: Config, state: ServerState, limits: ConnectionLimits) -> None:
        """Wait for a connection."""
        super().__init__(config, state, {})
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None  # of a head, or of an answer that is not taken
        self._watcher: asyncio.TimerHandle | None = None  # of a reader who lets what is sent pile up
        self._is_in_head = False
        self._is_in_message = False  # some of a request has been read, and not all of it
        self._begun = 0  # requests, by the parser
        self._head_bytes = 0
        self._heads = KnownHeads()
        self._is_last = False  # no request comes after the next one: the server ends

    @property
    def is_idle(self) -> bool:
        """Tell whether no request is being answered."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; one too many is told so."""
        super().connection_made(transport)
        too_many = len(self.connections) - self._limits.most
        if too_many > 0:
            self._limits.activity.connections_refused += 1
            self.app = _no_room
            self._is_last = True
        if too_many > SPARE:
            transport.abort()
        self._set_timer(self._limits.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Send no more until some is taken; a reader who takes nothing is given up."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Go on sending."""
        super().resume_writing()
        self._stop_watching()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request, or a whole one."""
        is_between, begun = self._is_between_requests, self._begun
        if is_between and (request := self._heads.find(data)) is not None:
            self._begin(request)
            return
        super().data_received(data)
        if is_between and self._begun == begun + 1 and not self._is_in_message:
            self._heads.learn(data, self.headers)
        self._head_bytes = self._head_bytes + len(data) if self._is_in_head else 0
        if self._head_bytes > HEAD_BYTES:
            self._refuse(431, f"The head of a request must not be larger than {HEAD_BYTES} bytes")
        elif not (self._is_in_head or self.is_idle):
            self._stop_timer()
        elif self._timer is None:
            self._set_timer(self._limits.head_s)

    @property
    def _is_between_requests(self) -> bool:
        return not (self._is_in_message or self.pipeline or self._is_last) and self.is_idle

    def _begin(self, request: KnownRequest) -> None:
        """Begin to answer a request that needs no parser."""
        self._stop_timer()
        self._unset_keepalive_if_required()
        scope = self._scope_of(request)
        cycle = self.cycle = WholeCycle(scope, request.content, self)  # type: ignore[arg-type]
        offer(scope, cycle)
        self._start_asgi_task(cycle, self.app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        task = self.loop.create_task(self._answer(cycle, app))
        self.tasks.add(task)

    async def _answer(self, cycle: RequestResponseCycle, app: Any) -> None:
        try:
            await cycle.run_asgi(app)
        finally:  # not by a callback of the task, for which the loop would go round once more
            self.tasks.discard(asyncio.current_task(self.loop))

    def _scope_of(self, request: KnownRequest) -> Scope:
        scope: Scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": request.headers,
            "state": self.app_state.copy(),
            "method": request.method,
            "path": self.root_path + request.path.decode(),
            "raw_path": self.root_path.encode() + request.path,
            "query_string": b"",
        }
        ask(scope, request.asked)
        return scope

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._is_in_head = self._is_in_message = True
        self._begun += 1
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """End a request."""
        self._is_in_message = False
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        self._is_in_head = False
        self.server_state.default_headers = [(b"date", date_now())]  # of what goes out as messages
        super().on_headers_complete()
        joined = JoinedWrites(self.transport, self.loop)
        self.cycle.transport = joined  # type: ignore[assignment]
        offer(self.scope, WholeExchange(self.cycle, joined))  # type: ignore[arg-type]
        if self._is_last:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """Go on to the next request; an answer that the other side does not take is given up."""
        super().on_response_complete()
        if self.transport.is_closing():  # once it is sent; else the time of an idle connection counts
            self._stop_timer()
            self._set_timer(SEND_S)

    def timeout_keep_alive_handler(self) -> None:
        """End a connection that is not used."""
        self._end()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, as documented."""
        self._refuse(400, msg)

    def shutdown(self) -> None:
        """Answer what is under way or on its way, then close."""
        self._is_last = True
        if not self.is_idle:
            self.cycle.keep_alive = False
        else:
            self.loop.call_later(LINGER_S, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self.is_idle:
            self._end()

    def _watch(self) -> None:
        self._stop_watching()
        left_bytes = self.transport.get_write_buffer_size()
        self._watcher = self.loop.call_later(SEND_S, self._look_at_reader, left_bytes)

    def _look_at_reader(self, before_bytes: int) -> None:
        if self.transport.get_write_buffer_size() < before_bytes:
            self._watch()
        else:
            self.transport.abort()

    def _stop_watching(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
        self._watcher = None

    def _set_timer(self, limit_s: float) -> None:
        self._timer = self.loop.call_later(limit_s, self._end)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _end(self) -> None:
        """Close; what the other side has not taken by now it never will."""
        self._timer = None
        if self.transport.get_write_buffer_size() > 0:
            self.transport.abort()
        elif not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        if self.transport.is_closing():
            return
        answer = failure(ApiError(status, "bad_request", message))
        self.transport.write(
            f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: {answer.content_type}\r\n"
            f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n".encode()
            + answer.body
        )
        self.transport.close()


async def _no_room(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer who is one too many."""
    headers = {"Retry-After": str(RETRY_AFTER_S), "Connection": "close"}
    answer: Answer = failure(ApiError(503, "overloaded", "Too many connections; try again", headers))
    await answer.send(send)
