"""The agent's durable record: what it intends, what runs, what is not delivered yet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final, Self

import msgspec

from worker.clock import Clock, SystemClock
from worker.reporting.bounds import EntryTooLarge, JournalError, JournalFull, Limits, encode_bounded
from worker.reporting.disk import JournalIO
from worker.reporting.group_commit import GroupCommit
from worker.reporting.records import (
    Child,
    ClosedRecord,
    Entry,
    EntryRecord,
    MarkRecord,
    UsageRecord,
    encode,
)
from worker.reporting.segment_writer import SegmentWriter
from worker.reporting.segments import Recovered, recover
from worker.storage.file import SpooledFile
from worker.usage.usage import Usage

__all__ = ["EntryTooLarge", "Journal", "JournalError", "JournalFull", "Limits"]

RECOVER_S: Final = 120.0  # to read what is open: at most a few hundred MiB, usually next to nothing


class Journal:
    """Open entries in memory, and every change of them on disk. Used on one event loop.

    A caller that is cancelled leaves its change in place. Only intents and reports tell of a failing disk;
    checkpoints, marks and closings do not: they count in memory at once, and the next segment carries them.
    """

    def __init__(self, found: Recovered, io: JournalIO, clock: Clock, limits: Limits) -> None:
        """Start with what was found, and nothing that could be written to; use `open`."""
        self._io = io
        self._limits = limits
        self._entries = found.entries
        self.entries: Final[Mapping[str, Entry]] = MappingProxyType(self._entries)  # that are open, by run id
        self._commits = GroupCommit(
            self._entries, SegmentWriter(io, found, limits.io_timeout_s), clock, limits
        )
        self.is_damaged = bool(found.damaged)  # what was read had gaps: entries may be missing

    @classmethod
    async def open(cls, io: JournalIO, clock: Clock | None = None, limits: Limits | None = None) -> Self:
        """Recover what is open and start a segment with it.

        A disk that can be read but not written gives a journal that is not healthy.

        Raises:
            OSError: the folder cannot be read, or not in time.
        """
        limits = limits or Limits()
        async with asyncio.timeout(RECOVER_S):
            found = await recover(io)
        journal = cls(found, io, clock or SystemClock(), limits)
        await journal._commits.restart([])
        return journal

    @property
    def is_healthy(self) -> bool:
        """Tell whether the last write held. While it did not, do not claim."""
        return self._commits.is_healthy

    async def intent(self, entry: Entry) -> None:
        """Write down a claim before it is sent, and reserve the room for its report.

        Not synced: it outlives the agent, not the machine (whose children die with it).

        Raises:
            JournalFull: no room on disk, or too many entries; the entry is forgotten.
            EntryTooLarge: the entry is over `intent_bytes`.
        """
        if len(self._entries) >= self._limits.max_open and entry.run_id not in self._entries:
            raise JournalFull(
                f"journal refuses run {entry.run_id}: {len(self._entries)} entries are open already;"
                " `millhand journal` shows what is not delivered, and why"
            )
        block = encode_bounded(entry, self._limits.intent_bytes)
        await self._commits.add(EntryRecord(entry), block)

    def checkpoint(self, run_id: str, usage: Usage | None = None, child: Child | None = None) -> None:
        """Write down what a run consumed so far, or its child.

        Not synced, and written within a moment; skipped on a full disk.
        """
        record = UsageRecord(run_id, usage, child)
        self._commits.add_patiently(record, encode(record))

    def must_fit(self, run_id: str, report: dict[str, Any], *, spare_bytes: int = 0) -> None:
        """See that a report will find room, with so much to spare; changes nothing.

        Raises:
            EntryTooLarge: report and intent are over `reserve_bytes`; cut `results` down.
        """
        entry = msgspec.structs.replace(self._entries[run_id], terminal=report)
        encode_bounded(entry, self._limits.reserve_bytes - spare_bytes)

    async def ended(
        self,
        run_id: str,
        report: dict[str, Any],
        files: tuple[SpooledFile, ...],
        usage: Usage | None = None,
        requeue: bool = False,
    ) -> None:
        """Write down how a run ended whose files are in the spool; on stable storage when this returns.

        Args:
            run_id: the run.
            report: the terminal report but for `results.files`.
            files: what is to be stored before the report is whole; their bytes are durable.
            usage: what the run consumed, for reports until then; None: as was known.
            requeue: a requeue follows the terminal report.

        Raises:
            JournalError, EntryTooLarge, KeyError: as `terminal`.
        """
        entry = self._entries[run_id]
        entry = msgspec.structs.replace(
            entry, ended=report, files=files, usage=usage or entry.usage, requeue=requeue
        )
        block = encode_bounded(entry, self._limits.reserve_bytes)
        await self._commits.add(EntryRecord(entry), block, is_durable=True)

    async def terminal(
        self,
        run_id: str,
        report: dict[str, Any],
        requeue: bool = False,
        unstored: tuple[SpooledFile, ...] = (),
    ) -> None:
        """Write down how a run ended; on stable storage when this returns. May be repeated.

        `unstored` are files that the report tells before they are stored; the entry waits for them.

        Raises:
            JournalError: the disk refuses; the report is kept in memory, and this or any later
                call tries again with a new segment.
            EntryTooLarge: report and intent are over `reserve_bytes`; cut `results` down.
            KeyError: no such entry is open.
        """
        entry = msgspec.structs.replace(
            self._entries[run_id], terminal=report, ended=None, files=unstored, requeue=requeue
        )
        block = encode_bounded(entry, self._limits.reserve_bytes)
        await self._commits.add(EntryRecord(entry), block, is_durable=True)

    async def mark(self, run_id: str, mark: str) -> None:
        """Note a word about an entry, once. Not synced."""
        record = MarkRecord(run_id, mark)
        await self._commits.add(record, encode(record))

    async def unmark(self, run_id: str, marks: Collection[str]) -> None:
        """Take words about an entry back; on stable storage when this returns.

        Raises:
            JournalError, EntryTooLarge, KeyError: as `terminal`.
        """
        entry = self._entries[run_id]
        left = tuple(mark for mark in entry.marks if mark not in marks)
        entry = msgspec.structs.replace(entry, marks=left)
        block = encode_bounded(entry, self._limits.reserve_bytes)
        await self._commits.add(EntryRecord(entry), block, is_durable=True)

    async def close_entry(self, run_id: str) -> None:
        """Be done with an entry; see `close_soon`."""
        self.close_soon(run_id)

    def close_soon(self, run_id: str) -> None:
        """Be done with an entry. Not synced, and written within a moment.

        At worst it is looked up at the server again.
        """
        record = ClosedRecord(run_id)
        self._commits.add_patiently(record, encode(record))

    async def sync(self) -> None:
        """Make everything so far durable; the way to try again after a failure.

        Raises:
            JournalError: the disk still refuses.
        """
        await self._commits.add(None, b"", is_durable=True)

    async def flush(self, limit_s: float | None = None) -> None:
        """Write what is queued, closings too, and wait for that, so long at most; never raises."""
        await self._commits.flush(limit_s)

    async def aclose(self) -> None:
        """Write what is queued, and close the files. Entries stay for the next start."""
        self._commits.close()
        await self._commits.flush(None)
        with contextlib.suppress(TimeoutError):  # a disk that hangs must not hold up the end
            async with asyncio.timeout(self._limits.io_timeout_s):
                await self._io.aclose()
