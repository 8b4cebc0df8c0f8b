"""The end of a run: written down first, then told, or held until its files are stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog
from msgspec.structs import replace

from worker.agent.claim import Claim
from worker.agent.policies import Policies
from worker.agent.reporters import Held
from worker.agent.reporting_task import Reporting
from worker.agent.uploads import Uploads
from worker.api.wire import ErrorKind, ResultCode
from worker.clock import Clock
from worker.executor.executor import ProgressEvent, UsageEvent
from worker.executor.outcome import Outcome, RunError
from worker.executor.retries import Verdict
from worker.reporting.journal import EntryTooLarge, Journal, JournalError
from worker.reporting.records import LATE_MARK, Entry
from worker.reporting.report import failed_instead, terminal_report, with_files
from worker.reporting.reporter import Reporter
from worker.storage.file import SpooledFile
from worker.storage.spool import Spool
from worker.usage.usage import rounded

__all__ = ["Endings"]

FILE_BYTES: Final = 48  # of the notes that one file is stored, or is not yet
ANSWER_S: Final = 1.0  # how long an outcome waits for the answer to a live report that is on its way
ERROR_BYTES: Final = 4096  # of the error that a success gets whose files are lost
log = structlog.get_logger()


class Endings:
    """Bring outcomes to the disk and on their way."""

    def __init__(
        self,
        *,
        journal: Journal,
        spool: Spool,
        uploads: Uploads,
        clock: Clock,
        policies: Policies,
        on_ended: Callable[[Entry], None],
        on_held: Callable[[Held], None],
    ) -> None:
        """Take the parts.

        `on_ended` gets the journal's entry of each outcome that is whole, to be delivered beside further
        runs; `on_held` each run whose files are to be stored before.
        """
        self._journal = journal
        self._spool = spool
        self._uploads = uploads
        self._clock = clock
        self._policies = policies
        self._on_ended = on_ended
        self._on_held = on_held
        self._log = log.bind()  # one for all: the module's makes one for each line

    async def end(self, claim: Claim, outcome: Outcome, reporter: Reporter, reporting: Reporting) -> None:
        """Write an outcome down; a run that is somebody else's by now is only noted.

        `reporting` goes on only while files are stored.
        """
        is_held = False
        try:
            is_held = await self._end(claim, outcome, reporter, reporting)
        finally:
            if not is_held:
                await reporting.end()

    async def _end(self, claim: Claim, outcome: Outcome, reporter: Reporter, reporting: Reporting) -> bool:
        """Return whether the run is held."""
        run_id = claim.run.id
        if outcome.code is ResultCode.SUCCESS:
            reporter.state.progress = 1.0
        elif reporter.is_lost:
            await self._journal.close_entry(run_id)
            await self._spool.remove(run_id)
            return False
        outcome, verdict = self._judged(claim, outcome, is_lost=reporter.is_lost)
        report = terminal_report(
            outcome,
            claim.identity,
            self._clock.now(),
            reporter.state.progress,
            reporter.untold,
            retry=verdict,
        )
        await self._write(run_id, report, outcome, requeue=verdict is not None and verdict.is_again)
        log_end(self._log, claim, outcome, verdict)
        entry = self._journal.entries[run_id]
        if entry.ended is not None and not reporter.is_taken:
            self._hold(run_id, outcome, reporter, reporting)
            return True
        if not await reporting.end(ANSWER_S):  # whose answer may say more
            await self._journal.mark(run_id, LATE_MARK)
        if reporter.is_taken:
            hint = "the run is another agent's; `millhand journal` shows and exports the result"
            log.error("outcome.fenced", run_id=run_id, hint=hint)
            await self._journal.mark(run_id, "fenced")
        else:
            self._on_ended(self._journal.entries[run_id])
        return False

    def _hold(self, run_id: str, outcome: Outcome, reporter: Reporter, reporting: Reporting) -> None:
        reporter.note(UsageEvent(outcome.usage))

        def tell(message: str) -> None:
            reporter.note(ProgressEvent(reporter.state.progress, message))

        self._on_held(Held(run_id, reporting.begin(), tell, reporter.answered))

    async def _write(self, run_id: str, report: dict[str, Any], outcome: Outcome, requeue: bool) -> None:
        """Have the outcome on disk; where the disk refuses, deliver it from memory and tell a person."""
        try:
            try:
                if outcome.files:
                    await self._write_with_files(run_id, report, outcome, requeue)
                else:
                    await self._journal.terminal(run_id, report, requeue=requeue)
            except EntryTooLarge as error:
                await self._write_cut(run_id, report, outcome.files, error)
        except JournalError as error:
            log.error(
                "journal.refused", error=str(error), hint="free the disk; nothing is claimed until then"
            )

    async def _write_with_files(
        self, run_id: str, report: dict[str, Any], outcome: Outcome, requeue: bool
    ) -> None:
        whole = with_files(report, self._uploads.whole(run_id, outcome.files))
        spare_bytes = ERROR_BYTES + FILE_BYTES * len(outcome.files)
        self._journal.must_fit(run_id, whole, spare_bytes=spare_bytes)
        await self._journal.ended(run_id, report, outcome.files, outcome.usage, requeue)

    async def _write_cut(
        self, run_id: str, report: dict[str, Any], files: tuple[SpooledFile, ...], error: EntryTooLarge
    ) -> None:
        """Write down that the results are larger than anything that can be kept; the files go with them."""
        short = failed_instead(report | {"results": {}}, too_large(error, len(files)))
        await self._journal.terminal(run_id, short)
        await self._spool.remove(run_id)

    def _judged(self, claim: Claim, outcome: Outcome, *, is_lost: bool) -> tuple[Outcome, Verdict | None]:
        """Decide what follows; who has the run by now decides otherwise."""
        if outcome.error is None or is_lost:
            return outcome, None
        verdict = self._policies.verdict(claim.task, claim.run.id, outcome.error, claim.known, claim.attempt)
        return replace(outcome, error=replace(outcome.error, retryable=verdict.is_worth_it)), verdict


def too_large(error: EntryTooLarge, files: int) -> RunError:
    """Return the error of a run whose results cannot be kept: what the bound is, and what to do."""
    told = f" and {files} files" if files else ""
    message = (
        f"the results{told} are too large to report: {error.size_bytes} bytes with all that the run reports,"
        f" {error.limit_bytes} are allowed; write large values to a file and hand it over with ctx.artifact,"
        " and pack many files into an archive"
    )
    return RunError(kind=ErrorKind.INTERNAL, message=message)


def log_end(log: Any, claim: Claim, outcome: Outcome, verdict: Verdict | None) -> None:
    """Leave the one line that a run leaves in the log."""
    log.info(
        "run.ended",
        type=claim.task.type,
        result=str(outcome.code),
        error=outcome.error.text() if outcome.error else None,
        wall_s=rounded(outcome.usage.wall_s),
        cpu_s=rounded(outcome.usage.cpu_s),
        ram_peak_bytes=outcome.usage.ram_peak_bytes,
        files=len(outcome.files),
        attempt=claim.attempt,
        requeued=verdict is not None and verdict.is_again,
        retry=None if verdict is None else verdict.reason,
    )
