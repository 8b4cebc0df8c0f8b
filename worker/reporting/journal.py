"""The agent's durable record: what it intends, what runs, what is not delivered yet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final, Self

import msgspec
import structlog

from worker.clock import Clock, SystemClock
from worker.reporting.bounds import EntryTooLarge, JournalError, JournalFull, Limits, encode_bounded
from worker.reporting.disk import JournalIO
from worker.reporting.records import (
    Child,
    ClosedRecord,
    Entry,
    EntryRecord,
    MarkRecord,
    UsageRecord,
    encode,
)
from worker.reporting.segments import Change, NoRoom, SegmentWriter, apply, recover
from worker.reporting.writes import Write, settle
from worker.storage.file import SpooledFile
from worker.usage.usage import Usage

__all__ = ["EntryTooLarge", "Journal", "JournalError", "JournalFull", "Limits"]

SLACK_BYTES: Final = 64 << 10  # room for marks and closings beside the reports
RECOVER_S: Final = 120.0  # to read what is open: at most a few hundred MiB, usually next to nothing
PATIENT_S: Final = 0.05  # how long a closing waits for another write that it can go along with
RETRY_S: Final = 1.0  # how often what need not be durable asks a failing disk

log = structlog.get_logger(__name__)


class Journal:
    """Open entries in memory, and every change of them on disk. Used on one event loop.

    Writes queue up while one is under way, and the next takes all of them with one sync, so that
    hundreds of reports a second cost few syncs. A caller that is cancelled leaves its change in
    place. Only intents and reports tell of a failing disk; checkpoints, marks and closings do not:
    they count in memory at once, and the next segment carries them.
    """

    def __init__(self, writer: SegmentWriter, io: JournalIO, clock: Clock, limits: Limits) -> None:
        """Start empty; use `open`."""
        self._writer = writer
        self._io = io
        self._clock = clock
        self._limits = limits
        self._entries: dict[str, Entry] = {}
        self.entries: Final[Mapping[str, Entry]] = MappingProxyType(self._entries)  # that are open, by run id
        self._queue: list[Write] = []  # as many as callers wait, and the closings of a moment
        self._patience: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._retry_at_mono = float("-inf")
        self._is_closed = False
        self.is_damaged = False  # what was read had gaps: entries may be missing

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
        writer = SegmentWriter(io, found, limits.io_timeout_s)
        journal = cls(writer, io, clock or SystemClock(), limits)
        journal._entries.update(found.entries)
        journal.is_damaged = bool(found.damaged)
        await journal._restart([])
        return journal

    @property
    def is_healthy(self) -> bool:
        """Tell whether the last write held. While it did not, do not claim."""
        return self._writer.is_open and not self._is_closed

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
        await self._enqueue(EntryRecord(entry), block).done

    def checkpoint(self, run_id: str, usage: Usage | None = None, child: Child | None = None) -> None:
        """Write down what a run consumed so far, or its child.

        Not synced, and written within a moment; skipped on a full disk.
        """
        record = UsageRecord(run_id, usage, child)
        self._enqueue(record, encode(record), is_patient=True)

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
        await self._enqueue(EntryRecord(entry), block, is_durable=True).done

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
        await self._enqueue(EntryRecord(entry), block, is_durable=True).done

    async def mark(self, run_id: str, mark: str) -> None:
        """Note a word about an entry, once. Not synced."""
        record = MarkRecord(run_id, mark)
        await self._enqueue(record, encode(record)).done

    async def unmark(self, run_id: str, marks: Collection[str]) -> None:
        """Take words about an entry back; on stable storage when this returns.

        Raises:
            JournalError, EntryTooLarge, KeyError: as `terminal`.
        """
        entry = self._entries[run_id]
        left = tuple(mark for mark in entry.marks if mark not in marks)
        entry = msgspec.structs.replace(entry, marks=left)
        block = encode_bounded(entry, self._limits.reserve_bytes)
        await self._enqueue(EntryRecord(entry), block, is_durable=True).done

    async def close_entry(self, run_id: str) -> None:
        """Be done with an entry. Not synced, and written within a moment.

        At worst it is looked up at the server again.
        """
        record = ClosedRecord(run_id)
        self._enqueue(record, encode(record), is_patient=True)

    async def sync(self) -> None:
        """Make everything so far durable; the way to try again after a failure.

        Raises:
            JournalError: the disk still refuses.
        """
        await self._enqueue(None, b"", is_durable=True).done

    async def flush(self, limit_s: float | None = None) -> None:
        """Write what is queued, closings too, and wait for that, so long at most; never raises."""
        self._lose_patience()
        if self._flushing is not None:
            await asyncio.wait([self._flushing], timeout=limit_s)

    async def aclose(self) -> None:
        """Write what is queued, and close the files. Entries stay for the next start."""
        self._is_closed = True
        await self.flush()
        with contextlib.suppress(TimeoutError):  # a disk that hangs must not hold up the end
            async with asyncio.timeout(self._limits.io_timeout_s):
                await self._io.aclose()

    def _enqueue(
        self, change: Change | None, block: bytes, *, is_durable: bool = False, is_patient: bool = False
    ) -> Write:
        """Change the memory at once and queue the block; its `done` is for who waits until it is written."""
        if self._is_closed:
            raise JournalError("the journal is closed")
        loop = asyncio.get_running_loop()
        replaced = self._entries.get(change.entry.run_id) if isinstance(change, EntryRecord) else None
        write = Write(change, block, is_durable, loop.create_future(), replaced, is_patient=is_patient)
        if change is not None:
            apply(self._entries, change)
        self._queue.append(write)
        if not is_patient:
            self._begin_flush()
        elif self._patience is None:
            self._patience = loop.call_later(PATIENT_S, self._lose_patience)
        return write

    def _begin_flush(self) -> None:
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="journal")

    def _lose_patience(self) -> None:
        """Write what has found no other write to go along with."""
        self._keep_patience()
        for write in self._queue:
            write.is_patient = False
        if self._queue:
            self._begin_flush()

    def _keep_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    async def _flush(self) -> None:
        while any(not write.is_patient for write in self._queue):
            batch = self._take()
            try:
                await self._write(batch)
            except BaseException as exc:  # a caller must never wait for ever
                settle(batch + self._take(), JournalError(f"the journal failed: {exc!r}"))
                raise

    def _take(self) -> list[Write]:
        self._keep_patience()
        batch, self._queue = self._queue, []
        return batch

    async def _write(self, batch: list[Write]) -> None:
        if not self._writer.is_open:
            await self._restart(batch)
            return
        batch = await self._make_room(batch)
        block, quick = (
            b"".join([write.block for write in batch]),
            [one for one in batch if not one.is_durable],
        )
        try:
            if len(quick) < len(batch):
                await self._writer.append_durably(block, lambda: settle(quick))
            else:
                await self._writer.append(block)
        except OSError as exc:
            log.warning("journal.write_failed", error=repr(exc))
            await self._restart(batch)
            return
        settle(batch)
        await self._rotate()

    async def _make_room(self, batch: list[Write]) -> list[Write]:
        """Return what may be written: without room, neither intents nor checkpoints.

        Reports, marks and closings have room that was reserved before.
        """
        try:
            await self._writer.reserve(sum(len(write.block) for write in batch) + self._room_bytes())
        except OSError as exc:
            self._refuse([write for write in batch if write.is_intent], exc)
            settle([write for write in batch if isinstance(write.change, UsageRecord)])
            return [write for write in batch if not write.done.done()]
        return batch

    def _refuse(self, intents: list[Write], exc: OSError) -> None:
        """Forget intents that found no room; those whose callers went on already are kept."""
        intents = [write for write in intents if not write.done.done()]
        for write in intents:
            self._entries.pop(write.run_id, None)
            if write.replaced is not None:
                self._entries[write.run_id] = write.replaced
        why = exc.strerror or repr(exc)
        settle(intents, JournalFull(f"no room in the journal for a report: {why}; free space on its disk"))

    def _room_bytes(self) -> int:
        """Return what the reports of all runs that have not ended may take."""
        reports = sum(entry.reports_ahead for entry in self._entries.values())
        return SLACK_BYTES + reports * self._limits.reserve_bytes

    async def _restart(self, batch: list[Write]) -> None:
        """Write everything that is open into a new segment; that settles all that waits."""
        batch += self._take()
        must = any(write.is_durable for write in batch) or self._clock.mono() >= self._retry_at_mono
        error = OSError("the disk failed a moment ago")
        if must:
            try:
                await self._writer.start(self._entries.values(), self._room_bytes())
                settle(batch)
                return
            except OSError as exc:
                error = exc
        self._refuse([write for write in batch if write.is_intent], error)
        if must:
            try:
                await self._writer.start(self._entries.values(), 0)
            except OSError as exc:
                error = exc
        self._retry_at_mono = self._clock.mono() + RETRY_S
        self._settle_failed(batch, error)

    def _settle_failed(self, batch: list[Write], error: OSError) -> None:
        if self._writer.is_open:
            settle(batch)
            return
        log.error("journal.failed", error=repr(error), open_entries=len(self._entries))
        durable = [write for write in batch if write.is_durable]
        settle(durable, JournalError(f"the journal cannot be written: {error!r}; see to its disk"))
        settle(batch)

    async def _rotate(self) -> None:
        """Replace a segment that is mostly history; the one before goes on where there is no room."""
        grown_bytes = self._writer.size_bytes - self._writer.base_bytes
        due_bytes = max(self._limits.segment_bytes, self._writer.base_bytes)
        if grown_bytes < due_bytes or self._clock.mono() < self._retry_at_mono:
            return
        try:
            await self._writer.start(self._entries.values(), self._room_bytes())
        except NoRoom as exc:
            self._retry_at_mono = self._clock.mono() + RETRY_S
            log.warning("journal.not_rotated", error=repr(exc))
        except OSError:
            await self._restart([])
