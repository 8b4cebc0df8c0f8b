"""Bring journalled outcomes to the server, however long it takes; say which ones cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import structlog

from worker.api.client import JobsApi
from worker.api.errors import ApiError, Conflict, NotFound, Refused, Rejected, Unknown
from worker.api.ids import requeue_run_id
from worker.api.models import Identity, Run, recency
from worker.api.retry import DELIVER, PATIENT, READ, Retrier
from worker.api.wire import ErrorKind, parse_instant
from worker.reporting.entry_state import why_mark
from worker.reporting.journal import Journal
from worker.reporting.records import DELIVERED_MARK, Entry
from worker.reporting.report import REDUCTIONS, is_cut_down, reduced
from worker.reporting.reporter import BODY_REFUSED, Standing, standing_of

__all__ = ["Delivered", "Delivery", "is_our_report"]

STOPPING = frozenset({"stopped", "cancelled", "canceled"})  # of a job: nothing of it is requeued
LATE_S = 60.0  # how late a request may arrive whose answer nobody waited for
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
    ) -> None:
        """`lag_s` is how long lists may lag; `kept_at` names the journal for a person who has to look."""
        self._lag_s = lag_s
        self._api = api
        self._journal = journal
        self._retrier = retrier
        self._new_id = new_id
        self._kept_at = kept_at

    async def deliver(self, entry: Entry) -> Delivered:
        """Deliver one outcome; its entry is closed only when the server has the whole of it."""
        if entry.terminal is None:
            raise ValueError(f"the entry of run {entry.run_id} has no outcome")
        if entry.requeue:
            await self._requeue(entry)
        try:
            delivered = await self._stop(entry, entry.terminal)
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

    async def _end(self, run_id: str) -> None:
        """Close an entry; one with files that are not stored yet is closed by who stores them."""
        entry = self._journal.entries.get(run_id)
        if entry is not None and entry.waits_for_files:
            await self._journal.mark(run_id, DELIVERED_MARK)
        else:
            await self._journal.close_entry(run_id)

    async def _stop(self, entry: Entry, report: dict[str, Any]) -> Delivered:
        refusal = Refused("no form of it was tried")
        for level in range(REDUCTIONS + 1):
            body = reduced(report, level, self._kept_at)
            try:
                return await self._retrier.call(DELIVER, lambda body=body: self._put(entry, body))  # type: ignore[misc]
            except Refused as error:
                refusal = error
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
        if not run.raw.get("stoppedAt"):
            log.warning("outcome.not_shown", run_id=entry.run_id, hint="the server kept the run going")
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

    # requeue

    async def _requeue(self, entry: Entry) -> None:
        """Make the task pending again by a placeholder; whoever does it twice does it once."""
        if await self._is_job_stopping(entry):
            return
        try:
            await self._retrier.call(DELIVER, lambda: self._post_once(entry))
        except ApiError as error:
            log.error("requeue.refused", run_id=entry.run_id, task_id=entry.task_id, error=str(error))

    async def _post_once(self, entry: Entry) -> None:
        """Post a placeholder, unless an earlier try or life did, or the run is over already.

        Whoever ended it decided what becomes of its task; it may be running elsewhere by now.
        """
        id_ = requeue_run_id(entry.run_id)
        if await self._is_over(entry):
            return
        if await self._exists(id_) or ("elected" in entry.marks and await self._is_continued(entry)):
            return
        body = {"id": id_, "taskId": entry.task_id, "jobId": entry.job_id, "reportProgress": True}
        try:
            await self._api.create_run(body)
        except Rejected as error:
            if await self._exists(id_):
                return
            if isinstance(error, Conflict | NotFound) and not error.is_documented:
                raise Unknown(str(error)) from error  # an ingress said it, not the API
            raise

    async def _is_over(self, entry: Entry) -> bool:
        try:
            run = await self._api.get_run(entry.run_id)
        except (Conflict, NotFound, Refused):
            return False
        return standing_of(run, identity_of(entry, entry.terminal or {})) is not Standing.OURS

    async def _exists(self, run_id: str) -> bool:
        try:
            await self._api.get_run(run_id)
        except (Conflict, NotFound, Refused):
            return False
        return True

    async def _is_continued(self, entry: Entry) -> bool:
        """Tell whether the task was requeued after our run: where the server gives ids, its list tells."""
        await asyncio.sleep(self._lag_s)
        return any(not run.raw.get("startedAt") for run in after(await self._runs_of(entry), entry))

    async def _is_job_stopping(self, entry: Entry) -> bool:
        if entry.job_id is None:
            return False
        job_id = entry.job_id
        try:
            job = await self._retrier.call(READ, lambda: self._api.get_job(job_id))
        except ApiError:
            return False
        return job.scheduler_state in STOPPING

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
        runs = await self._runs_of(entry)
        identity = identity_of(entry, report)
        for run in runs:  # lost answers made several of one claim, or of an echo
            if run.is_live and identity.owns(run) and run.id != entry.run_id:
                await self._retrier.call(PATIENT, lambda id_=run.id: self._api.update_run(id_, report))  # type: ignore[misc]
        later = after(runs, entry)
        if any(not run.raw.get("startedAt") for run in later):
            return True
        return not later or (identity.owns(later[-1]) and later[-1].error_kind != ErrorKind.LOST_CLAIM)

    async def _runs_of(self, entry: Entry) -> list[Run]:
        try:
            return await self._api.list_runs(job_id=entry.job_id, task_id=entry.task_id, per_page=100)
        except NotFound as error:
            if error.is_documented:
                return []
            raise Unknown(str(error)) from error  # an ingress said it, not the API

    async def _echo(self, entry: Entry, report: dict[str, Any]) -> None:
        """Post one more run that carries the outcome."""
        body = {**entry.intent, **report, "id": self._new_id()}
        run = await self._api.create_run(body)
        if not run.raw.get("stoppedAt"):
            await self._retrier.call(PATIENT, lambda: self._api.update_run(run.id, report))


def after(runs: Sequence[Run], entry: Entry) -> list[Run]:
    """Return the runs that are more recent than the one of an entry, oldest first."""
    ordered = sorted(runs, key=recency)
    at = next((at for at, run in enumerate(ordered) if run.id == entry.run_id), len(ordered))
    return ordered[at + 1 :]


def accepted(results: Mapping[str, Any]) -> Delivered:
    """Return what became of an outcome that the server has with these results."""
    return Delivered.REDUCED if is_cut_down(results) else Delivered.ACCEPTED


def identity_of(entry: Entry, report: Mapping[str, Any]) -> Identity:
    """Return the identity under which a run was started: the claim's, or its probe's."""
    is_probe = report.get("startedAt", entry.started_at) != entry.started_at
    started_at = parse_instant(report["startedAt"] if is_probe else entry.started_at)
    return Identity(f"{entry.pod_id}/probe" if is_probe else entry.pod_id, started_at)  # type: ignore[arg-type]


def is_our_report(run: Run, entry: Entry, report: Mapping[str, Any]) -> bool:
    """Tell whether a stopped run shows our identity and our outcome: our own report, accepted.

    Of the error only the kind is compared: a server may have cut the text.
    """
    kind = str(report.get("error") or "").partition(":")[0].strip()
    return (
        bool(run.raw.get("stoppedAt"))
        and identity_of(entry, report).owns(run)
        and run.result_code == report.get("resultCode")
        and (run.error_kind or "") == kind
    )
