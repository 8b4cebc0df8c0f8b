"""A page that stays open: its changing part is sent again whenever it has changed (server-sent events)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

__all__ = ["Live"]

LOOK_S: Final = 1.0  # between two looks, at least; people do not read faster
SHARE: Final = 20  # a look that takes long is made so much rarer
MOST_OPEN: Final = 200  # pages at once; more are shown, and not kept up to date
KEEP_ALIVE_S: Final = 15.0  # a word that nothing changed, so that proxies keep the line


class Live:
    """The open pages."""

    def __init__(self) -> None:
        """Begin with none."""
        self._open = 0
        self._closed = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Tell whether no further page is kept up to date."""
        return self._open >= MOST_OPEN or self._closed.is_set()

    def close(self) -> None:
        """Let all go, because the server stops; their browsers come again."""
        self._closed.set()

    async def follow(self, render: Callable[[], Awaitable[str | None]]) -> AsyncIterator[bytes]:
        """Give a page's events: what it shows now, then each change, until `render` gives None."""
        self._open += 1
        try:
            shown, quiet_since = None, time.monotonic()
            while not self._closed.is_set():
                begun = time.monotonic()
                text = await render()
                if text is None:
                    yield event("gone", "")
                    return
                if text != shown:
                    shown, quiet_since = text, begun
                    yield event("main", text)
                elif begun - quiet_since >= KEEP_ALIVE_S:
                    quiet_since = begun
                    yield b": nothing new\n\n"
                with contextlib.suppress(TimeoutError):
                    pause_s = max(LOOK_S, SHARE * (time.monotonic() - begun))
                    await asyncio.wait_for(self._closed.wait(), pause_s)
        finally:
            self._open -= 1


def event(name: str, data: str) -> bytes:
    """Return an event as it stands on the wire."""
    lines = "\n".join(f"data: {line}" for line in data.splitlines() or [""])
    return f"event: {name}\n{lines}\n\n".encode()
