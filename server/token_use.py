"""When tokens were last used: noted in memory with each request, written once a minute at most."""

from __future__ import annotations

import asyncio
from datetime import datetime
from types import TracebackType
from typing import Final, Self

import structlog

from server.store.commands import NoteTokenUse
from server.store.refusal import StoreBusy, StoreFailed
from server.store.store import Store
from server.times import to_ms
from worker.clock import Clock

__all__ = ["TokenUse"]

EVERY_S: Final = 60.0  # what a server that is killed forgets at most

log = structlog.get_logger(__name__)


class TokenUse:
    """Writes down what was noted as long as it is entered, and at the end."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Nothing was used yet."""
        self._store = store
        self._clock = clock
        self._used: dict[str, datetime] = {}
        self._task: asyncio.Task[None] | None = None

    def note(self, token_id: str) -> None:
        """Note that a token is used now."""
        self._used[token_id] = self._clock.now()

    async def write(self) -> None:
        """Make durable what was noted; where the store cannot now, it is kept for the next time."""
        if not self._used:
            return
        used, self._used = self._used, {}
        try:
            await self._store.apply(NoteTokenUse(used={token: to_ms(at) for token, at in used.items()}))
        except (StoreBusy, StoreFailed) as exc:
            self._used = used | self._used
            log.warning("token_use.delayed", reason=str(exc))
        except Exception:
            log.exception("token_use.failed", consequence="`millhand token list` shows an older last use")

    async def __aenter__(self) -> Self:
        """Begin to write."""
        self._task = asyncio.create_task(self._write_for_ever(), name="token-use")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is left."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.write()

    async def _write_for_ever(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self.write()
