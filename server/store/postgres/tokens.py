"""Tokens that were looked up a moment ago: each request has one, and they hardly ever change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import Struct

from server.store.postgres.session import NOW
from server.store.records import Principal
from server.store.sql import rows
from server.store.sql.dialect import Row
from server.times import to_ms
from worker.clock import Clock

__all__ = ["Tokens"]

KNOWN_S: Final = 5.0  # what another server or the command line changes is seen after this time
MOST_KNOWN: Final = 1_000
STRANGERS_AT_ONCE: Final = 2  # look-ups of tokens that nobody knows; who guesses does not fill the queue
FIND: Final = f"SELECT *, {NOW} AS now_ms FROM tokens WHERE sha256 = ?"  # noqa: S608 - a constant
ANY: Final = f"SELECT expires_at, {NOW} AS now_ms FROM tokens ORDER BY expires_at DESC NULLS FIRST LIMIT 1"  # noqa: S608

Read = Callable[[str, list[Any]], Awaitable[list[Row]]]


class KnownToken(Struct, frozen=True):
    """What the database said of a token; times are of the clock that cannot be set."""

    principal: Principal
    expires_at_mono: float
    read_at_mono: float


class Tokens:
    """Reads tokens, and remembers them for a moment."""

    def __init__(self, read: Read, mono: Callable[[], float], clock: Clock | None) -> None:
        """Read by statements. Tokens expire by the database's clock, unless one is given."""
        self._read = read
        self._mono = mono
        self._clock = clock
        self._known: dict[str, KnownToken] = {}
        self._strangers = asyncio.Semaphore(STRANGERS_AT_ONCE)

    def clear(self) -> None:
        """Forget what is known: it was changed here."""
        self._known.clear()

    async def principal(self, sha256: str) -> Principal | None:
        """Return who a token speaks for; None where there is none, or it expired."""
        known = self._known.get(sha256)
        if known is None:
            async with self._strangers:
                known = self._known.get(sha256) or await self._find(sha256)
        elif not known.read_at_mono <= self._mono() < known.read_at_mono + KNOWN_S:
            known = await self._find(sha256)
        return known.principal if known is not None and self._mono() < known.expires_at_mono else None

    async def has_any(self) -> bool:
        """Tell whether there is a token that has not expired."""
        found = await self._read(ANY, [])
        return bool(found) and self._left_s(found[0]) > 0

    async def _find(self, sha256: str) -> KnownToken | None:
        found = await self._read(FIND, [sha256])
        if not found:  # not remembered: guesses shall not fill the memory
            self._known.pop(sha256, None)
            return None
        row = found[0]
        principal = rows.principal(row)
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        now = self._mono()
        known = self._known[sha256] = KnownToken(principal, now + self._left_s(row), now)
        return known

    def _left_s(self, row: Row) -> float:
        if row["expires_at"] is None:
            return float("inf")
        now_ms = row["now_ms"] if self._clock is None else to_ms(self._clock.now())
        return float(row["expires_at"] - now_ms) / 1000
