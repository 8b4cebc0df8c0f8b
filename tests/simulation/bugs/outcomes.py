"""Bugs of outcomes on their way, of requeues and cancels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import structs

import worker.agent.claim
import worker.agent.election
import worker.agent.recovery
import worker.reporting.delivery
import worker.reporting.requeue
from tests.simulation.bugs.change import Change, fresh_id
from worker.agent.job_states import JobStates
from worker.api.errors import ApiError
from worker.api.retry import DELIVER, Backoff
from worker.reporting.delivery import Delivered, Delivery
from worker.reporting.records import Entry
from worker.reporting.requeue import Requeues
from worker.reporting.segment_writer import SegmentWriter


def unsynced() -> Sequence[Change]:
    """Send an outcome that the disk may still lose."""

    async def append_durably(self: SegmentWriter, block: bytes, on_written: Callable[[], None]) -> None:
        await self.append(block)
        on_written()

    return [(SegmentWriter, "append_durably", append_durably)]


def closed_early() -> Sequence[Change]:
    """Let the journal's entry go when the report is sent, not when it is answered."""
    real_begin, real_deliver = Delivery.begin, Delivery.deliver

    def begin(self: Delivery, entry: Entry, *tell: Any) -> bool:
        self._journal.close_soon(entry.run_id)
        return real_begin(self, entry, *tell)

    async def deliver(self: Delivery, entry: Entry, failed: ApiError | None = None) -> Delivered:
        self._journal.close_soon(entry.run_id)
        return await real_deliver(self, entry, failed)

    return [(Delivery, "begin", begin), (Delivery, "deliver", deliver)]


def gives_up() -> Sequence[Change]:
    """Drop a result that could not be delivered for five minutes, as others do."""
    real = Delivery.deliver

    async def deliver(self: Delivery, entry: Entry, failed: ApiError | None = None) -> Delivered:
        delivered = await real(self, entry, failed)
        if delivered is Delivered.UNDELIVERED:
            await self._journal.close_entry(entry.run_id)
        return delivered

    soon = structs.replace(DELIVER, limit_s=300.0)
    return [(worker.reporting.delivery, "DELIVER", soon), (Delivery, "deliver", deliver)]


def own_report_unknown() -> Sequence[Change]:
    """Do not know one's own report again whose answer got lost."""
    return [(worker.reporting.delivery, "is_our_report", lambda *of: False)]


def hammers() -> Sequence[Change]:
    """Ask again at once."""
    return [(Backoff, "next_s", lambda self, *of: 0.0)]


def no_requeue() -> Sequence[Change]:
    """Stop a run, and leave its task failed."""

    async def requeue(self: Requeues, entry: Entry) -> None:
        return None

    return [(Requeues, "requeue", requeue)]


def requeues_late() -> Sequence[Change]:
    """Stop the run first, and post the placeholder then."""
    real_deliver, real_requeue = Delivery.deliver, Requeues.requeue

    async def nothing(self: Requeues, entry: Entry) -> None:
        return None

    async def deliver(self: Delivery, entry: Entry, failed: ApiError | None = None) -> Delivered:
        delivered = await real_deliver(self, entry, failed)
        if entry.requeue:
            await real_requeue(self._requeues, entry)
        return delivered

    return [(Requeues, "requeue", nothing), (Delivery, "deliver", deliver)]


def requeues_twice() -> Sequence[Change]:
    """Give each try of a requeue an id of its own."""
    return [(worker.reporting.requeue, "requeue_run_id", lambda of: fresh_id())]


def requeues_the_cancelled() -> Sequence[Change]:
    """Requeue without a look at the job."""
    return [(worker.reporting.requeue, "STOPPING", frozenset())]


def does_not_cancel() -> Sequence[Change]:
    """Let the runs of a cancelled job go on."""
    return [(JobStates, "watch", lambda self, job_id, stop: lambda: None)]
