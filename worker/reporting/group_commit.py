"""Changes of the journal go to disk in batches: one write and one sync for all that wait."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import structlog

from worker.clock import Clock
from worker.reporting.bounds import JournalError, JournalFull, Limits
from worker.reporting.records import Entry, EntryRecord
from worker.reporting.segment_writer import NoRoom, SegmentWriter
from worker.reporting.segments import Change, apply
from worker.reporting.writes import Write, settle

__all__ = ["GroupCommit"]

SLACK_BYTES: Final = 64 << 10  # room for marks and closings beside the reports
PATIENT_S: Final = 0.05  # how long a closing waits for another write that it can go along with
RETRY_S: Final = 1.0  # how often what need not be durable asks a failing disk

log = structlog.get_logger(__name__)


class GroupCommit:
    """The queue before the disk. Used on one event loop.

    Writes queue up while one is under way, and the next takes all of them with one sync, so that
    hundreds of reports a second cost few syncs.
    """

    def __init__(
        self, entries: dict[str, Entry], writer: SegmentWriter, clock: Clock, limits: Limits
    ) -> None:
        """Take the open entries, which every change is applied to at once."""
        self._entries = entries
        self._writer = writer
        self._clock = clock
        self._limits = limits
        self._queue: list[Write] = []  # as many as callers wait, and the closings of a moment
        self._patience: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._retry_at_mono = float("-inf")
        self._is_closed = False

    @property
    def is_healthy(self) -> bool:
        """Tell whether the last write held, and more may come."""
        return self._writer.is_open and not self._is_closed

    def close(self) -> None:
        """Take no more."""
        self._is_closed = True

    async def flush(self, limit_s: float | None) -> None:
        """Write what is queued, closings too, and wait for that, so long at most; never raises."""
        self._lose_patience()
        if self._flushing is not None:
            await asyncio.wait([self._flushing], timeout=limit_s)

    def add(self, change: Change | None, block: bytes, *, is_durable: bool = False) -> asyncio.Future[None]:
        """Change the memory at once and queue the block; what is returned is done when it is written."""
        replaced = self._entries.get(change.entry.run_id) if isinstance(change, EntryRecord) else None
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._take_up(Write(change, block, is_durable, done, replaced))
        self._begin_flush()
        return done

    def add_patiently(self, change: Change, block: bytes) -> None:
        """Change the memory at once; the block goes along with another one, or soon by itself."""
        self._take_up(Write(change, block, is_durable=False, is_patient=True))
        if self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(PATIENT_S, self._lose_patience)

    def _take_up(self, write: Write) -> None:
        if self._is_closed:
            raise JournalError("the journal is closed")
        if write.change is not None:
            apply(self._entries, write.change)
        self._queue.append(write)

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
        while self._is_due():
            batch = self._take()
            try:
                await self._write(batch)
            except BaseException as exc:  # a caller must never wait for ever
                settle(batch + self._take(), JournalError(f"the journal failed: {exc!r}"))
                raise

    def _is_due(self) -> bool:
        """Tell whether some write does not wait for another; loops, here and below: they cost less."""
        for write in self._queue:  # noqa: SIM110 - `any` of a generator takes three times as long
            if not write.is_patient:
                return True
        return False

    def _take(self) -> list[Write]:
        self._keep_patience()
        batch, self._queue = self._queue, []
        return batch

    async def _write(self, batch: list[Write]) -> None:
        if not self._writer.is_open:
            await self.restart(batch)
            return
        batch = await self._make_room(batch)
        block = b"".join([write.block for write in batch])
        quick = [one for one in batch if not one.is_durable]
        try:
            if len(quick) < len(batch):
                await self._writer.append_durably(block, partial(settle, quick))
            else:
                await self._writer.append(block)
        except OSError as exc:
            log.warning("journal.write_failed", error=repr(exc))
            await self.restart(batch)
            return
        settle(batch)
        await self._rotate()

    async def _make_room(self, batch: list[Write]) -> list[Write]:
        """Return what may be written: without room, neither intents nor checkpoints.

        Reports, marks and closings have room that was reserved before.
        """
        try:
            await self._writer.reserve(sum([len(write.block) for write in batch]) + self._room_bytes())
        except OSError as exc:
            self._refuse([write for write in batch if write.is_intent], exc)
            settle([write for write in batch if not write.has_room])
            return [write for write in batch if write.has_room]  # also where nobody waits any more
        return batch

    def _refuse(self, intents: list[Write], exc: OSError) -> None:
        """Forget intents that found no room; those whose callers went on already are kept."""
        intents = [write for write in intents if write.is_waited_for]
        for write in intents:
            self._entries.pop(write.run_id, None)
            if write.replaced is not None:
                self._entries[write.run_id] = write.replaced
        why = exc.strerror or repr(exc)
        settle(intents, JournalFull(f"no room in the journal for a report: {why}; free space on its disk"))

    def _room_bytes(self) -> int:
        """Return what the reports of all runs that have not ended may take."""
        reports = 0
        for entry in self._entries.values():
            if entry.terminal is None:  # nearly all others have been told, and are closed in a moment
                reports += entry.reports_ahead
        return SLACK_BYTES + reports * self._limits.reserve_bytes

    async def restart(self, batch: list[Write]) -> None:
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
            await self.restart([])
