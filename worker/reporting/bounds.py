"""The bounds of the journal, and how it refuses.

Errors:

    JournalError            the disk refuses; what was given stays in memory and is tried again
    ├── JournalFull         no room for a run's report: do not claim
    └── EntryTooLarge       the entry is over its bound: cut it down
"""

from __future__ import annotations

from msgspec import Struct

from worker.reporting.records import Entry, EntryRecord, encode

__all__ = ["EntryTooLarge", "JournalError", "JournalFull", "Limits", "encode_bounded"]


class JournalError(Exception):
    """The disk refused. The entry is kept in memory and written with the next call that succeeds."""


class JournalFull(JournalError):  # noqa: N818 - a state of the disk, or of the entry
    """There is no room for the report of one more run."""


class EntryTooLarge(JournalError):  # noqa: N818 - a state of the disk, or of the entry
    """An entry with its report is larger than the room reserved for it; nothing was changed."""

    def __init__(self, run_id: str, size_bytes: int, limit_bytes: int) -> None:
        """Keep the sizes, for whoever tells the user."""
        super().__init__(
            f"journal entry of run {run_id} has {size_bytes} bytes, {limit_bytes} are allowed;"
            " cut its report down"
        )
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class Limits(Struct, frozen=True, kw_only=True):
    """The bounds of a journal."""

    segment_bytes: int = 4 << 20  # a segment is replaced when it grew by this, or by its own base
    intent_bytes: int = 64 << 10  # the largest entry without its report
    reserve_bytes: int = 384 << 10  # room for one entry with its report; also its largest size
    max_open: int = 4096  # entries; an intent beyond is refused
    io_timeout_s: float = 30.0  # a disk that takes longer counts as failed


def encode_bounded(entry: Entry, limit_bytes: int) -> bytes:
    """Return an entry as it stands on disk; raises EntryTooLarge beyond the limit."""
    block = encode(EntryRecord(entry))
    if len(block) > limit_bytes:
        raise EntryTooLarge(entry.run_id, len(block), limit_bytes)
    return block
