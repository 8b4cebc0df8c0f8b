"""Runs that have ended and whose files are not stored yet: beside further runs, each goes on reporting.

What becomes of such a run:

    all stored                        its report gets `results.files`, and is delivered
    a file is gone from the spool     it failed (`internal`); what is there is told
    it failed, and the store is away  told after a moment with what is stored; the rest is stored later
    its job is stopped meanwhile      told as `cancelled`; the rest is stored later
    it is another agent's now         nothing more; outcome and files stay, marked `fenced`
    the agent ends                    taken up by the next start; until then the run stays running
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

import structlog

from worker.agent.drain import Drain
from worker.agent.ending import ANSWER_S
from worker.agent.errands import Errands, cancel
from worker.agent.job_states import JobStates
from worker.agent.reporters import Held
from worker.agent.uploads import Uploads
from worker.api.wire import ErrorKind, ResultCode
from worker.executor.outcome import RunError
from worker.reporting.journal import EntryTooLarge, Journal, JournalError
from worker.reporting.records import DELIVERED_MARK, LATE_MARK, STORED_MARK, Entry
from worker.reporting.report import failed_instead, with_files
from worker.storage.spool import Spool

__all__ = ["Storing"]

PATIENCE_S: Final = 30.0  # how long the report of a failed run waits for its files: its task may be requeued
CANCEL_S: Final = 5.0  # how long that of a run of a stopped job does
DRAIN_SHARE: Final = 0.5  # of what is left of a drain; the rest is for the report
SYNC_S: Final = 10.0  # between tries to make a report durable on a disk that refuses
HELD_MAX: Final = 1_000  # at once; with more, nothing new may be claimed
log = structlog.get_logger()


class Turn(Enum):
    """What ends the wait for a run's files."""

    STORED = "stored"
    TAKEN = "taken"
    CANCELLED = "cancelled"
    TOO_LONG = "too long"


class Storing:
    """Hold ended runs until their files are stored; the journal knows each of them."""

    def __init__(
        self,
        uploads: Uploads,
        *,
        spool: Spool,
        journal: Journal,
        jobs: JobStates,
        drain: Drain,
        deliver: Callable[[Entry], None],
    ) -> None:
        """`deliver` is given the entries whose reports are whole."""
        self._uploads = uploads
        self._spool = spool
        self._journal = journal
        self._jobs = jobs
        self._drain = drain
        self._deliver = deliver
        self._listeners: list[Callable[[], None]] = []
        self._errands = Errands(self._tell)

    def __len__(self) -> int:
        """How many runs have files to store."""
        return len(self._errands)

    @property
    def is_full(self) -> bool:
        """Tell whether nothing may be claimed until some are stored."""
        return self._spool.is_full or len(self) >= HELD_MAX

    def fullness(self) -> str:
        """Say how full, and what to do."""
        return self._spool.fullness() if self._spool.is_full else f"{len(self)} runs wait for their files"

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each run whose files are stored."""
        self._listeners.append(listener)

    def hold(self, held: Held) -> None:
        """Store the files of an ended run, then have its report delivered. Ends its reporting."""
        self._errands.start(self._hold(held))

    def follow_up(self, run_id: str) -> None:
        """Store the files of a run that was told before they were stored."""
        self._errands.start(self._store_late(run_id))

    async def settle(self, limit_s: float) -> None:
        """Wait until all are stored, or the limit is over; the journal keeps the rest."""
        await self._errands.settle(limit_s)

    async def _hold(self, held: Held) -> None:
        storing = asyncio.create_task(self._uploads.store_all(held.run_id, held.tell))
        try:
            turn = await self._turn(self._journal.entries[held.run_id], held.reporting, storing)
            if turn is Turn.TAKEN or await self._is_taken_at_last(held):
                await self._fence(held.run_id)
                return
            await self._report(held.run_id, turn, storing.result() if turn is Turn.STORED else {})
            if turn is Turn.STORED:
                await self._clear(held.run_id)
            else:
                await self._end_late(held.run_id, await storing)
        finally:
            await cancel(storing, held.reporting)

    # the wait

    async def _turn(
        self, entry: Entry, reporting: asyncio.Task[bool], storing: asyncio.Task[dict[str, str]]
    ) -> Turn:
        """Wait for what comes first. A run that is lost, but nobody's, may still take its result."""
        stopped = asyncio.Event()
        end_watch = self._jobs.watch(entry.job_id, stopped.set)
        turns: dict[asyncio.Task[Any], Turn] = {
            asyncio.create_task(taken(reporting)): Turn.TAKEN,
            storing: Turn.STORED,
            asyncio.create_task(self._stopped(stopped)): Turn.CANCELLED,
        }
        if is_failed(entry.ended):
            turns[asyncio.create_task(self._patience())] = Turn.TOO_LONG
        try:
            done, _ = await asyncio.wait(turns, return_when=asyncio.FIRST_COMPLETED)
        finally:
            end_watch()
            await cancel(*(turns.keys() - {storing}))
        return next(turn for task, turn in turns.items() if task in done)

    async def _stopped(self, stopped: asyncio.Event) -> None:
        """Wait for the end of the job, and a moment for a store that is not away."""
        await stopped.wait()
        await asyncio.sleep(CANCEL_S)

    async def _patience(self) -> None:
        """Wait as long as the report of a failed run may wait for its files."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._drain.requested()
        except TimeoutError:
            return
        if self._drain.is_hurried:
            return
        try:
            async with asyncio.timeout(self._drain.left_s() * DRAIN_SHARE):
                await self._drain.nearer()
        except TimeoutError:
            return

    # the end

    async def _is_taken_at_last(self, held: Held) -> bool:
        """End the reports of a run: nothing comes after the outcome. Tell what the last answer says."""
        if not await held.answered(ANSWER_S):
            await self._journal.mark(held.run_id, LATE_MARK)
        await cancel(held.reporting)
        return is_taken(held.reporting)

    async def _fence(self, run_id: str) -> None:
        hint = "the run is another's; result and files stay here: `millhand journal` shows them"
        log.error("outcome.fenced", run_id=run_id, hint=hint)
        await self._journal.mark(run_id, "fenced")

    async def _report(self, run_id: str, turn: Turn, gone: dict[str, str]) -> None:
        """Write the whole report down, and have it delivered."""
        entry = self._journal.entries[run_id]
        files = self._uploads.told(entry, gone)
        report = with_files(entry.ended or {}, files)
        error = failure(turn, sum(not file.is_stored for file in files), gone)
        if error is not None and not is_failed(entry.ended):
            report = failed_instead(report, error)
        requeue = entry.requeue and turn is not Turn.CANCELLED
        unstored = () if turn is Turn.STORED else entry.files
        if turn is not Turn.STORED:
            log.warning("run.told_without_files", run_id=run_id, why=turn.value)
        try:
            try:
                await self._journal.terminal(run_id, report, requeue, unstored)
            except EntryTooLarge as refusal:
                short = shortened(entry.ended or {}, turn, error, refusal)
                await self._journal.terminal(run_id, short, requeue and bool(unstored), unstored)
        except JournalError as refusal:
            hint = "free the disk; nothing is claimed until then"
            log.error("journal.refused", error=str(refusal), hint=hint)
        self._deliver(self._journal.entries[run_id])

    async def _clear(self, run_id: str) -> None:
        """Let the spool's files go, once it is durable that they are stored."""
        while not self._journal.is_healthy:
            await asyncio.sleep(SYNC_S)
            try:
                await self._journal.sync()
            except JournalError as refusal:
                log.error("journal.refused", error=str(refusal), hint="the spool keeps the run's files")
        await self._spool.remove(run_id)

    # later

    async def _store_late(self, run_id: str) -> None:
        gone = await self._uploads.store_all(run_id, lambda _: None)
        await self._end_late(run_id, gone)

    async def _end_late(self, run_id: str, gone: dict[str, str]) -> None:
        """Close the entry, or let the delivery close it."""
        if gone:
            log.error("files.lost", run_id=run_id, files=sorted(gone))
        entry = self._journal.entries.get(run_id)
        if entry is not None and DELIVERED_MARK in entry.marks:
            await self._journal.close_entry(run_id)
        elif entry is not None:
            await self._journal.mark(run_id, STORED_MARK)
        await self._spool.remove(run_id)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


async def taken(reporting: asyncio.Task[bool]) -> None:
    """Wait until a run is seen to be another's; for ever where it never is."""
    await asyncio.wait({reporting})
    if not is_taken(reporting):
        await asyncio.Event().wait()


def is_taken(reporting: asyncio.Task[bool]) -> bool:
    """Tell whether reports that have ended saw the run to be another's."""
    return not reporting.cancelled() and reporting.exception() is None and reporting.result()


def is_failed(report: dict[str, Any] | None) -> bool:
    """Tell whether a report says failed."""
    return (report or {}).get("resultCode") == ResultCode.FAILED


def failure(turn: Turn, unstored: int, gone: dict[str, str]) -> RunError | None:
    """Return why a run is no success although its handler was one."""
    if turn is Turn.CANCELLED:
        message = (
            f"the job was stopped before {unstored} file(s) of the run were stored; they are stored later"
        )
        return RunError(kind=ErrorKind.CANCELLED, message=message)
    if gone:
        return RunError(kind=ErrorKind.INTERNAL, message="; ".join(gone.values())[:1000], retryable=True)
    return None


def shortened(
    report: dict[str, Any], turn: Turn, error: RunError | None, refusal: EntryTooLarge
) -> dict[str, Any]:
    """Return a report without its files: the store may have longer addresses than before a restart.

    Where they are not stored yet, the journal holds their list too, and has no room for it twice.
    """
    if turn is Turn.STORED:
        message = f"the files are stored, but their list is too large: {refusal}; make fewer, or an archive"
        error = RunError(kind=ErrorKind.INTERNAL, message=message)
    return report if error is None or is_failed(report) else failed_instead(report, error)
