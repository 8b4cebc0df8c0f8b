"""Changes of the journal on their way to disk, and the callers that wait for them."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from worker.reporting.bounds import JournalError
from worker.reporting.records import Entry, EntryRecord, UsageRecord
from worker.reporting.segments import Change

__all__ = ["Write", "settle"]


class Write(Struct):
    """One change on its way to disk."""

    change: Change | None  # None: only a sync is wanted
    block: bytes
    is_durable: bool
    done: asyncio.Future[None] | None = None  # None: nobody waits for it
    replaced: Entry | None = None  # comes back where the intent is refused
    is_patient: bool = False  # it goes along with another, or soon by itself

    @property
    def is_waited_for(self) -> bool:
        """Tell whether a caller waits for it still."""
        return self.done is not None and not self.done.done()

    @property
    def is_intent(self) -> bool:
        """Tell whether this may be refused for want of room."""
        return isinstance(self.change, EntryRecord) and not self.is_durable

    @property
    def has_room(self) -> bool:
        """Tell whether room was reserved for it; intents and checkpoints find some, or are left out."""
        return not (self.is_intent or isinstance(self.change, UsageRecord))

    @property
    def run_id(self) -> str:
        """Return the run that an intent is about."""
        return self.change.entry.run_id if isinstance(self.change, EntryRecord) else ""


def settle(writes: list[Write], error: JournalError | None = None) -> None:
    """Let the callers go on, those that still wait."""
    for write in writes:
        if write.done is None or write.done.done():
            continue
        if error is None:
            write.done.set_result(None)
        else:
            write.done.set_exception(error)
