"""A page that stays open: its changing part is sent again whenever it has changed (server-sent events)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Final

__all__ = ["Gone", "Live"]

LOOK_S: Final = 1.0  # between two looks, at least; people do not read faster
SHARE: Final = 20  # all looks together take one part of so many of the time
MOST_OPEN: Final = 200  # pages at once; more are shown, and not kept up to date
KEEP_ALIVE_S: Final = 15.0  # a word that nothing changed, so that proxies keep the line


class Gone(Exception):  # noqa: N818 - says what it is
    """There is nothing to show any more, or nobody who may see it."""


class Live:
    """The open pages. Those who look at the same thing with the same rights share each look."""

    def __init__(self) -> None:
        """Begin with none."""
        self._open: Counter[Hashable] = Counter()
        self._shown: dict[Hashable, tuple[float, str]] = {}  # when, what
        self._turn = asyncio.Lock()
        self._closed = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Tell whether no further page is kept up to date."""
        return self._open.total() >= MOST_OPEN or self._closed.is_set()

    def close(self) -> None:
        """Let all go, because the server stops; their browsers come again."""
        self._closed.set()

    async def follow(
        self, key: Hashable, render: Callable[[], Awaitable[str]], first: str
    ) -> AsyncIterator[bytes]:
        """Give a page's events: what it shows first, then each change, until `render` raises `Gone`."""
        self._open[key] += 1
        try:
            shown, quiet_since = first, time.monotonic()
            yield event("main", first)
            pause_s = LOOK_S
            while not await self._closes_within(pause_s):
                try:
                    text, took_s = await self._look(key, render)
                except Gone:
                    yield event("gone", "")
                    return
                pause_s = max(LOOK_S, SHARE * took_s * len(self._open))
                now = time.monotonic()
                if text != shown:
                    shown, quiet_since = text, now
                    yield event("main", text)
                elif now - quiet_since >= KEEP_ALIVE_S:
                    quiet_since = now
                    yield b": nothing new\n\n"
        finally:
            self._open[key] -= 1
            if self._open[key] <= 0:
                del self._open[key]
                self._shown.pop(key, None)

    async def _look(self, key: Hashable, render: Callable[[], Awaitable[str]]) -> tuple[str, float]:
        """Return what is to be seen, and what it took; one looks at a time, and for all who look alike."""
        async with self._turn:
            at_mono, text = self._shown.get(key, (float("-inf"), ""))
            begun = time.monotonic()
            if begun - at_mono < LOOK_S / 2:
                return text, 0.0
            text = await render()
            ended = time.monotonic()
            self._shown[key] = ended, text
            return text, ended - begun

    async def _closes_within(self, limit_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), limit_s)
        return self._closed.is_set()


def event(name: str, data: str) -> bytes:
    """Return an event as it stands on the wire."""
    lines = "\n".join(f"data: {line}" for line in data.splitlines() or [""])
    return f"event: {name}\n{lines}\n\n".encode()
