"""Bring journalled outcomes to the server, however long it takes; say which ones cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Any

import structlog

from worker.api.client import JobsApi
from worker.api.errors import ApiError, Conflict, NotFound, Refused, Rejected, Unknown
from worker.api.ids import requeue_run_id
from worker.api.models import Identity, Run, most_recent
from worker.api.retry import DELIVER, PATIENT, READ, Retrier
from worker.api.wire import ErrorKind, parse_instant
from worker.reporting.journal import Journal
from worker.reporting.records import Entry
from worker.reporting.report import REDUCTIONS, reduced

__all__ = ["Delivered", "Delivery", "is_our_report"]

STOPPING = frozenset({"stopped", "cancelled", "canceled"})  # of a job: nothing of it is requeued
LOOKS_MAX = 20  # at a task whose most recent run is a claim that has not seen yet that it lost
log = structlog.get_logger()


class Delivered(Enum):
    """What became of an outcome."""

    ACCEPTED = "accepted"
    FENCED = "fenced"  # the run was given to somebody else; the outcome stays in the journal
    REFUSED = "refused"  # the server takes no form of it; it stays in the journal
    UNDELIVERED = "undelivered"  # no answer for a week; it stays, and is tried at the next start


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
        """Deliver one outcome; its entry is closed only when the server has it."""
        if entry.terminal is None:
            raise ValueError(f"the entry of run {entry.run_id} has no outcome")
        if entry.requeue:
            await self._requeue(entry)
        try:
            delivered = await self._stop(entry, entry.terminal)
        except ApiError as error:
            delivered = Delivered.UNDELIVERED
            log.error("outcome.undelivered", run_id=entry.run_id, kept_at=self._kept_at, error=str(error))
        if delivered is Delivered.ACCEPTED:
            if "elected" in entry.marks:
                await self._show(entry, entry.terminal)
            await self._journal.close_entry(entry.run_id)
        elif delivered is not Delivered.UNDELIVERED:
            await self._journal.mark(entry.run_id, delivered.value)
        return delivered

    async def _stop(self, entry: Entry, report: dict[str, Any]) -> Delivered:
        for level in range(REDUCTIONS + 1):
            body = reduced(report, level, self._kept_at)
            try:
                run = await self._retrier.call(DELIVER, lambda body=body: self._put(entry, body))  # type: ignore[misc]
            except (Conflict, NotFound) as error:
                return await self._after_conflict(entry, report, error)
            except Refused as error:
                log.warning("outcome.refused", run_id=entry.run_id, level=level, error=str(error))
                continue
            if not run.raw.get("stoppedAt"):
                log.warning("outcome.not_shown", run_id=entry.run_id, hint="the server kept the run going")
            return Delivered.ACCEPTED
        log.error("outcome.refused_for_good", run_id=entry.run_id, kept_at=self._kept_at)
        return Delivered.REFUSED

    async def _put(self, entry: Entry, body: dict[str, Any]) -> Run:
        try:
            return await self._api.update_run(entry.run_id, body)
        except (Conflict, NotFound) as error:
            if error.is_documented:
                raise
            # an ingress said it, not the API: nobody knows
            raise Unknown(str(error), status=error.status) from error

    async def _after_conflict(self, entry: Entry, report: dict[str, Any], error: ApiError) -> Delivered:
        """Tell our own report, accepted before its answer got lost, from a run that is not ours any more."""
        try:
            run = await self._retrier.call(DELIVER, lambda: self._api.get_run(entry.run_id))
        except NotFound:
            run = None
        if run is not None and is_our_report(run, entry, report):
            return Delivered.ACCEPTED
        log.error("outcome.fenced", run_id=entry.run_id, kept_at=self._kept_at, error=str(error))
        return Delivered.FENCED

    # requeue

    async def _requeue(self, entry: Entry) -> None:
        """Make the task pending again by a placeholder; whoever does it twice does it once."""
        if await self._is_job_stopping(entry):
            return
        id_ = requeue_run_id(entry.run_id)
        body = {"id": id_, "taskId": entry.task_id, "jobId": entry.job_id, "reportProgress": True}
        try:
            await self._retrier.call(DELIVER, lambda: self._post_once(id_, body))
        except Rejected as error:
            if not await self._exists(id_):
                log.error("requeue.refused", run_id=entry.run_id, task_id=entry.task_id, error=str(error))
        except ApiError as error:
            log.error("requeue.undelivered", run_id=entry.run_id, task_id=entry.task_id, error=str(error))

    async def _post_once(self, id_: str, body: dict[str, Any]) -> None:
        """Post a placeholder; look for it where an earlier try may have got through."""
        if not await self._exists(id_):
            await self._api.create_run(body)

    async def _exists(self, run_id: str) -> bool:
        try:
            await self._retrier.call(PATIENT, lambda: self._api.get_run(run_id))
        except NotFound:
            return False
        return True

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
        """Let the task show the outcome where a lost claim is more recent than the run that has it."""
        for _ in range(LOOKS_MAX):
            await asyncio.sleep(self._lag_s)  # what was posted last must be seen, and be closed by who lost
            try:
                latest = most_recent(await self._runs_of(entry))
                if latest is None or latest.id == entry.run_id:
                    return
                if latest.error_kind == ErrorKind.LOST_CLAIM:
                    await self._echo(entry, report)
                    return
                if not latest.is_live:
                    return
            except ApiError as error:
                log.warning("outcome.not_most_recent", run_id=entry.run_id, error=str(error))
                return

    async def _runs_of(self, entry: Entry) -> list[Run]:
        return await self._retrier.call(
            PATIENT, lambda: self._api.list_runs(job_id=entry.job_id, task_id=entry.task_id, per_page=100)
        )

    async def _echo(self, entry: Entry, report: dict[str, Any]) -> None:
        """Post one more run that carries the outcome."""
        body = {**entry.intent, **report, "id": self._new_id()}
        run = await self._api.create_run(body)
        if not run.raw.get("stoppedAt"):
            await self._retrier.call(PATIENT, lambda: self._api.update_run(run.id, report))


def is_our_report(run: Run, entry: Entry, report: dict[str, Any]) -> bool:
    """Tell whether a stopped run shows our identity and our outcome: our own report, accepted."""
    identity = Identity(entry.pod_id, parse_instant(entry.started_at))  # type: ignore[arg-type]
    return (
        bool(run.raw.get("stoppedAt"))
        and identity.owns(run)
        and run.result_code == report.get("resultCode")
        and run.error == report.get("error")
    )
