"""Outcomes on their way to the server, beside everything else."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from worker.agent.errands import Errands
from worker.reporting.delivery import Delivered, Delivery
from worker.reporting.records import Entry

__all__ = ["Outbox"]

UNDELIVERED_MAX = 1_000  # on their way at once; with more, nothing new may be claimed
log = structlog.get_logger()


class Outbox:
    """Deliver each outcome that is given; the journal holds them all meanwhile."""

    def __init__(self, delivery: Delivery) -> None:
        """Start empty."""
        self._delivery = delivery
        self._listeners: list[Callable[[], None]] = []
        self._errands = Errands(self._tell)

    def __len__(self) -> int:
        """How many are on their way."""
        return len(self._errands)

    @property
    def is_full(self) -> bool:
        """Tell whether nothing may be claimed until some are delivered."""
        return len(self) >= UNDELIVERED_MAX

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each delivery."""
        self._listeners.append(listener)

    def send(self, entry: Entry) -> None:
        """Bring an outcome to the server."""
        self._errands.start(self._deliver(entry))

    async def settle(self, limit_s: float) -> None:
        """Wait until all are delivered, or the limit is over; the journal keeps the rest."""
        await self._errands.settle(limit_s)

    async def _deliver(self, entry: Entry) -> None:
        delivered = await self._delivery.deliver(entry)
        if delivered is not Delivered.ACCEPTED:
            hint = f"`millhand journal show {entry.run_id}` shows it"
            log.error(
                "outcome.kept", run_id=entry.run_id, task_id=entry.task_id, why=delivered.value, hint=hint
            )

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
