"""Bring journalled outcomes to the server, however long it takes; say which ones cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import structlog

from worker.api.client import JobsApi
from worker.api.errors import ApiError, Conflict, NotFound, Refused, Rejected, Unknown
from worker.api.models import Run
from worker.api.retry import DELIVER, PATIENT, Retrier
from worker.api.wire import ErrorKind
from worker.reporting.entry_runs import after, identity_of, is_our_report
from worker.reporting.entry_state import why_mark
from worker.reporting.journal import Journal
from worker.reporting.records import DELIVERED_MARK, LATE_MARK, Entry
from worker.reporting.report import REDUCTIONS, is_cut_down, reduced
from worker.reporting.reporter import BODY_REFUSED, LATE_S, Standing, standing_of
from worker.reporting.requeue import Requeues, runs_of

__all__ = ["Delivered", "Delivery"]

STALE_S = 3.0  # how long after its list an agent may still post a claim: its candidates' age, and the way
LOOKS_MAX = 20  # at a task that does not show the outcome of its elected run
log = structlog.get_logger()


class Delivered(Enum):
    """What became of an outcome."""

    ACCEPTED = "accepted"
    REDUCED = "reduced"  # the server took it without its results, which stay in the journal
    FENCED = "fenced"  # the run was given to somebody else; the outcome stays in the journal
    REFUSED = "refused"  # the server takes no form of it; it stays in the journal
    UNDELIVERED = "undelivered"  # no answer for a week; it stays, and is tried at the next start


ON_SERVER = frozenset({Delivered.ACCEPTED, Delivered.REDUCED})


class Delivery:
    """Send terminal reports: first the placeholder of a requeue, then the stop, then close the entry."""

    def __init__(
        self,
        api: JobsApi,
        journal: Journal,
        retrier: Retrier,
        *,
        new_id: Callable[[], str],
        lag_s: float,
        kept_at: str,
        on_deferred: Callable[[str, str, float], None] = lambda task_id, placeholder_id, after_s: None,
    ) -> None:
        """`lag_s` is how long lists may lag; `kept_at` names the journal for a person who has to look.

        `on_deferred` is told of each task that waits for its next run: its id, the placeholder's, seconds.
        """
        self._lag_s = lag_s
        self._api = api
        self._journal = journal
        self._retrier = retrier
        self._requeues = Requeues(api, retrier, lag_s=lag_s, on_deferred=on_deferred)
        self._new_id = new_id
        self._kept_at = kept_at

    def begin(
        self, entry: Entry, on_accepted: Callable[[], None], on_failed: Callable[[ApiError], None]
    ) -> bool:
        """Send an outcome of which nothing special is known along with other writes, and return at once.

        One of both is told, later: that the server has the whole of it, and its entry is closed; or why it
        has to be delivered by `deliver`. Returns False where that has to be done anyway.
        """
        if not is_plain(entry) or entry.terminal is None:
            return False

        def told(answer: dict[str, Any] | ApiError) -> None:
            if isinstance(answer, ApiError):
                on_failed(answer)
                return
            try:
                tell_if_going(entry, answer)
                self._journal.close_soon(entry.run_id)
            finally:
                on_accepted()

        return self._api.begin_update(entry.run_id, entry.terminal, told)

    async def deliver(self, entry: Entry, failed: ApiError | None = None) -> Delivered:
        """Deliver one outcome; its entry is closed only when the server has the whole of it.

        `failed` is what a first try brought that was made already, by `begin`.
        """
        if entry.terminal is None:
            raise ValueError(f"the entry of run {entry.run_id} has no outcome")
        if entry.requeue:
            await self._requeues.requeue(entry)
        try:
            delivered = await self._stop(entry, entry.terminal, failed)
            if delivered in ON_SERVER and await self._may_be_replaced(entry, delivered):
                await asyncio.sleep(LATE_S)  # a live report may have been the last word
                await self._stop(entry, entry.terminal)
        except ApiError as error:
            delivered = Delivered.UNDELIVERED
            log.error("outcome.undelivered", run_id=entry.run_id, kept_at=self._kept_at, error=str(error))
        if delivered in ON_SERVER and "elected" in entry.marks:
            await self._show(entry, entry.terminal)
        if delivered is Delivered.ACCEPTED:
            await self._end(entry.run_id)
        elif delivered is not Delivered.UNDELIVERED:
            await self._journal.mark(entry.run_id, delivered.value)
        return delivered

    async def _may_be_replaced(self, entry: Entry, delivered: Delivered) -> bool:
        """Tell whether a live report may arrive yet, and the server takes those on runs that are over.

        The same report once more shows that it does.
        """
        if LATE_MARK not in entry.marks or self._api.traits.claims_unique:
            return False
        if delivered is not Delivered.ACCEPTED:  # to refuse the whole report says nothing of the run
            return True
        try:
            await self._api.update_run(entry.run_id, entry.terminal or {})
        except (Conflict, Refused) as error:
            return isinstance(error, Refused) and error.status not in BODY_REFUSED
        except ApiError:  # nobody knows
            return True
        return True

    async def _end(self, run_id: str) -> None:
        """Close an entry; one with files that are not stored yet is closed by who stores them."""
        entry = self._journal.entries.get(run_id)
        if entry is not None and entry.waits_for_files:
            await self._journal.mark(run_id, DELIVERED_MARK)
        else:
            await self._journal.close_entry(run_id)

    async def _stop(self, entry: Entry, report: dict[str, Any], failed: ApiError | None = None) -> Delivered:
        refusal = Refused("no form of it was tried")
        for level in range(REDUCTIONS + 1):
            body = reduced(report, level, self._kept_at)
            try:
                return await self._retrier.call(DELIVER, lambda body=body: self._put(entry, body), failed)  # type: ignore[misc]
            except Refused as error:
                refusal, failed = error, None
                log.warning("outcome.refused", run_id=entry.run_id, level=level, error=str(error))
        await asyncio.sleep(self._lag_s)  # a server may say 422 of a run that our first report has stopped
        run = await self._retrier.call(DELIVER, lambda: self._surely(entry))
        if run is not None and is_our_report(run, entry, report):
            return accepted(run.results)
        log.error("outcome.refused_for_good", run_id=entry.run_id, kept_at=self._kept_at)
        await self._journal.mark(entry.run_id, why_mark(refusal))
        return Delivered.REFUSED

    async def _put(self, entry: Entry, body: dict[str, Any]) -> Delivered:
        """Report once. Raises Refused where the body is refused, Unknown where nothing is settled."""
        try:
            run = await self._api.update_run(entry.run_id, body)
        except (Conflict, NotFound, Refused) as error:
            return await self._after_refusal(entry, body, error)
        tell_if_going(entry, run.raw)
        return accepted(body.get("results", {}))

    async def _after_refusal(self, entry: Entry, body: dict[str, Any], error: ApiError) -> Delivered:
        """Tell our own report, accepted before its answer got lost, from a run that is not ours any more."""
        run = await self._surely(entry)
        if run is not None and is_our_report(run, entry, body):
            return accepted(run.results)
        if run is None or standing_of(run, identity_of(entry, body)) is not Standing.OURS:
            log.error("outcome.fenced", run_id=entry.run_id, kept_at=self._kept_at, error=str(error))
            await self._journal.mark(entry.run_id, why_mark(error))
            return Delivered.FENCED
        if isinstance(error, Refused) and error.status in BODY_REFUSED:
            raise error
        # the run is ours and going: an ingress said it, or a replica that lags
        log.warning("outcome.not_taken", run_id=entry.run_id, error=str(error))
        raise Unknown(str(error), status=error.status) from error

    async def _surely(self, entry: Entry) -> Run | None:
        """Return the run; None only where the API itself says twice, further apart than it lags: gone.

        Raises: Unknown where nobody knows.
        """
        for look in range(2):
            if look:
                await asyncio.sleep(self._lag_s)
            try:
                return await self._api.get_run(entry.run_id)
            except Rejected as error:
                if not (isinstance(error, NotFound) and error.is_documented):
                    raise Unknown(str(error), retry_after_s=error.retry_after_s) from error
        return None

    # elections

    async def _show(self, entry: Entry, report: dict[str, Any]) -> None:
        """Let the task show the outcome where claims that lose are more recent than the run that has it."""
        wait_s = LATE_S if "doubted" in entry.marks else self._lag_s + STALE_S
        for _ in range(LOOKS_MAX):
            await asyncio.sleep(wait_s)  # what was posted last must be seen
            wait_s = min(wait_s * 2.0 + 1.0, LATE_S)
            try:
                if not await self._is_shown(entry, report):
                    await self._echo(entry, report)
                return
            except ApiError as error:  # where the echo's answer got lost, the next list shows it
                log.warning("outcome.not_most_recent", run_id=entry.run_id, error=str(error))
        log.error("outcome.not_most_recent", run_id=entry.run_id, task_id=entry.task_id)

    async def _is_shown(self, entry: Entry, report: dict[str, Any]) -> bool:
        """Tell whether the task shows the outcome, or has gone on; stop what is left of our claim.

        A claim that comes after our run without a placeholder between them will lose.
        """
        runs = await runs_of(self._api, entry)
        identity = identity_of(entry, report)
        for run in runs:  # lost answers made several of one claim, or of an echo
            if run.is_live and identity.owns(run) and run.id != entry.run_id:
                await self._retrier.call(PATIENT, lambda id_=run.id: self._api.update_run(id_, report))  # type: ignore[misc]
        later = after(runs, entry)
        if any(not run.raw.get("startedAt") for run in later):
            return True
        return not later or (identity.owns(later[-1]) and later[-1].error_kind != ErrorKind.LOST_CLAIM)

    async def _echo(self, entry: Entry, report: dict[str, Any]) -> None:
        """Post one more run that carries the outcome."""
        body = {**entry.intent, **report, "id": self._new_id()}
        run = await self._api.create_run(body)
        if not run.raw.get("stoppedAt"):
            await self._retrier.call(PATIENT, lambda: self._api.update_run(run.id, report))


def is_plain(entry: Entry) -> bool:
    """Tell whether an outcome is delivered by one report that stops its run, and nothing before or after."""
    report = entry.terminal or {}
    has_more = entry.requeue or entry.marks or entry.files
    return not has_more and not is_cut_down(report.get("results", {}))


def tell_if_going(entry: Entry, run: Mapping[str, Any]) -> None:
    """Leave a line where a server took the report that stops a run, and shows it going."""
    if not run.get("stoppedAt"):
        log.warning("outcome.not_shown", run_id=entry.run_id, hint="the server kept the run going")


def accepted(results: Mapping[str, Any]) -> Delivered:
    """Return what became of an outcome that the server has with these results."""
    return Delivered.REDUCED if is_cut_down(results) else Delivered.ACCEPTED
