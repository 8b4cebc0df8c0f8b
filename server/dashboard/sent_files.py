"""Hand a file of a run to a browser: as a stream, and so that nothing in it can act on these pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from server.dashboard.files import Stored, disposition
from server.dashboard.folders import Busy, Folders, NotReadable

__all__ = ["Handing"]

MOST_AT_ONCE: Final = 100
# What a browser shows of a file is a stranger to these pages, whatever it holds. Styles are the browser's,
# of the page that it makes around a picture.
HARMLESS: Final = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}

log = structlog.get_logger(__name__)


class Handing:
    """The files that are under way to browsers."""

    def __init__(self, folders: Folders) -> None:
        """Begin with none."""
        self._folders = folders
        self._under_way = 0

    async def answer(self, request: Request, name: str, stored: Stored) -> Response:
        """Return the answer that is a file, opened and checked.

        Raises:
            NotReadable: it cannot be had.
            Busy: too many are under way, or the file system does not answer.
        """
        if self._under_way >= MOST_AT_ONCE:
            raise Busy(f"{MOST_AT_ONCE} files are being sent already.")
        async with AsyncExitStack() as stack:
            self._under_way += 1
            stack.callback(self._ended)
            descriptor = await stack.enter_async_context(self._folders.opened(stored))
            headers = {
                **HARMLESS,
                "Content-Type": stored.media_type,
                "Content-Length": str(stored.size_bytes),
                "Content-Disposition": disposition(name, stored.media_type),
            }
            wanted_bytes = 0 if request.method == "HEAD" else stored.size_bytes
            body = self._folders.chunks(descriptor, wanted_bytes)
            return HandedFile(body, headers=headers, held=stack.pop_all())

    def _ended(self) -> None:
        self._under_way -= 1


class HandedFile(StreamingResponse):
    """A file as an answer; what is held for it is let go when it has been sent, or its reader has gone."""

    def __init__(self, body: AsyncIterator[bytes], *, headers: dict[str, str], held: AsyncExitStack) -> None:
        """Take the open file."""
        super().__init__(body, headers=headers)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; where that fails in the middle, the connection ends, and its length says so."""
        async with self._held:
            try:
                await super().__call__(scope, receive, send)
            except (NotReadable, Busy) as exc:
                log.warning("file.cut_off", path=scope["path"], reason=str(exc))
