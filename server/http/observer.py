"""Looks at every request from its first byte to its last: id, headers of every answer, logs, counters."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog
from starlette.types import Message, Receive, Scope, Send

from server.activity import Activity
from server.audit import Audit
from server.http.answer import ALWAYS
from server.http.exchange import withdraw
from server.http.peers import Peers
from server.http.seen import REQUEST_ID_HEADER, Seen, request_id_of

__all__ = ["Observer"]

PATH_CHARACTERS: Final = 300

access = structlog.get_logger("server.access")

Answering = Callable[[Scope, Receive, Send], Awaitable[None]]


class Observer:
    """Wraps what answers requests."""

    def __init__(
        self, activity: Activity, peers: Peers, audit: Audit | None = None, *, has_access_log: bool = False
    ) -> None:
        """Count into `activity`; log where that is asked for."""
        self._activity = activity
        self._peers = peers
        self._audit = audit
        self._has_access_log = has_access_log

    async def serve(self, answering: Answering, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a request answered, and tell of it when it is over, however it ends."""
        seen = Seen(request_id=request_id_of(scope["headers"]), is_told=self._audit is not None)
        seen.put_into(scope)
        begun_s = time.perf_counter()
        try:
            await answering(scope, receive, partial(_noting, seen, send))
        finally:
            withdraw(scope)
            self._ended(seen, scope, time.perf_counter() - begun_s)

    def _ended(self, seen: Seen, scope: Scope, took_s: float) -> None:
        self._activity.served(seen, took_s)
        for part in seen.parts:
            self._activity.served(part.seen, part.took_s)
        if self._audit is None and not self._has_access_log:
            return
        peer = self._peers.address(scope)
        self._write_down(seen, scope["method"], peer)
        for part in seen.parts:
            self._write_down(part.seen, part.method, peer)
        if self._has_access_log:
            _log(seen, scope, took_s, peer)

    def _write_down(self, seen: Seen, method: str, peer: str | None) -> None:
        if self._audit is not None and seen.is_write and seen.principal is not None:
            self._audit.write(seen, method, peer)


async def _noting(seen: Seen, send: Send, message: Message) -> None:
    """Send a message; add the headers of every answer, and note status and size."""
    if message["type"] == "http.response.start":
        seen.status = message["status"]
        given = list(message.get("headers", ()))
        names = {name for name, _ in given}
        added = [(REQUEST_ID_HEADER, seen.request_id.encode()), *ALWAYS]
        message["headers"] = [*given, *(header for header in added if header[0] not in names)]
    elif message["type"] == "http.response.body":
        seen.sent_bytes += len(message.get("body", b""))
    await send(message)


def _log(seen: Seen, scope: Scope, took_s: float, peer: str | None) -> None:
    # The path alone: a token may be in the query.
    access.info(
        "request.served",
        request_id=seen.request_id,
        method=scope["method"],
        path=scope["path"][:PATH_CHARACTERS],
        operation=seen.operation,
        status=seen.status,
        bytes=seen.sent_bytes,
        duration_ms=round(took_s * 1000, 3),
        token_id=seen.principal and seen.principal.token_id,
        peer=peer,
    )
