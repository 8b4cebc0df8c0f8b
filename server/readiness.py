"""Whether requests should come here: the database can be written, its schema is ours, no end is near."""

from __future__ import annotations

import asyncio
from typing import Final

from server.store.refusal import Refused, StoreBusy, StoreFailed
from server.store.store import Store
from worker.clock import Clock

__all__ = ["Readiness"]

KNOWN_S: Final = 1.0  # a look costs a write; probes of anybody shall not cost one each
LOOK_S: Final = 5.0  # for the database to answer


class Readiness:
    """Looks when it is asked, once a second at most."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Nothing is known yet."""
        self.is_draining = False
        self._store = store
        self._clock = clock
        self._looking = asyncio.Lock()
        self._looked_mono: float | None = None
        self._reason: str | None = None

    async def reason(self) -> str | None:
        """Return why it is not ready; None: it is."""
        if self.is_draining:
            return "The server ends"
        async with self._looking:
            now = self._clock.mono()
            if self._looked_mono is None or now - self._looked_mono >= KNOWN_S:
                self._reason = await self._look()
                self._looked_mono = self._clock.mono()
        return self._reason

    async def _look(self) -> str | None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._store.check_writable()
        except TimeoutError:
            return f"The database did not answer within {LOOK_S:g} s"
        except (Refused, StoreBusy, StoreFailed) as exc:
            return f"The database cannot be written: {exc}"
        return None
