"""Outcomes on their way to the server, beside everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial

import structlog
from msgspec import Struct

from worker.agent.bounded import within
from worker.agent.errands import Errands
from worker.api.errors import ApiError
from worker.reporting.delivery import Delivered, Delivery
from worker.reporting.records import Entry

__all__ = ["Outbox"]

UNDELIVERED_MAX = 1_000  # on their way at once; with more, nothing new may be claimed
log = structlog.get_logger()


class Flight(Struct, eq=False):
    """An outcome that was sent, and is not answered yet."""

    entry: Entry
    context: Context  # of its run, for the lines of the log


class Outbox:
    """Deliver each outcome that is given; the journal holds them all meanwhile.

    Most are sent, answered and done with, without a task of their own; what needs more is an errand.
    """

    def __init__(self, delivery: Delivery) -> None:
        """Start empty."""
        self._delivery = delivery
        self._listeners: list[Callable[[], None]] = []
        self._errands = Errands(self._tell)
        self._flights: set[Flight] = set()
        self._landed = asyncio.Event()

    def __len__(self) -> int:
        """How many are on their way."""
        return len(self._errands) + len(self._flights)

    @property
    def is_full(self) -> bool:
        """Tell whether nothing may be claimed until some are delivered."""
        return len(self) >= UNDELIVERED_MAX

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each delivery."""
        self._listeners.append(listener)

    def send(self, entry: Entry) -> None:
        """Bring an outcome to the server."""
        flight = Flight(entry, copy_context())
        self._flights.add(flight)  # before: the answer finds it there
        if not self._delivery.begin(entry, partial(self._accepted, flight), partial(self._failed, flight)):
            self._flights.discard(flight)
            self._errands.start(self._deliver(entry))

    async def settle(self, limit_s: float) -> None:
        """Wait until all are delivered, or the limit is over; the journal keeps the rest."""
        loop = asyncio.get_running_loop()
        end = loop.time() + limit_s
        await within(self._all_landed(), limit_s)
        await self._errands.settle(max(0.0, end - loop.time()))
        self._flights.clear()  # what is answered later begins nothing any more

    async def _all_landed(self) -> None:
        while self._flights:
            self._landed.clear()
            await self._landed.wait()

    def _accepted(self, flight: Flight) -> None:
        self._land(flight)
        self._tell()

    def _failed(self, flight: Flight, error: ApiError) -> None:
        """Go on with one whose first try failed, unless it was given up."""
        if self._land(flight):
            flight.context.run(self._errands.start, self._deliver(flight.entry, error))

    def _land(self, flight: Flight) -> bool:
        is_ours = flight in self._flights
        self._flights.discard(flight)
        if not self._flights:
            self._landed.set()
        return is_ours

    async def _deliver(self, entry: Entry, failed: ApiError | None = None) -> None:
        delivered = await self._delivery.deliver(entry, failed)
        if delivered is not Delivered.ACCEPTED:
            hint = f"`millhand journal show {entry.run_id}` shows it"
            log.error(
                "outcome.kept", run_id=entry.run_id, task_id=entry.task_id, why=delivered.value, hint=hint
            )

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
