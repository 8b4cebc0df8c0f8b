"""Make the task of a run that ends pending again: by a placeholder, before the run is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import structlog

from worker.api import wire
from worker.api.client import JobsApi
from worker.api.errors import ApiError, Conflict, NotFound, Refused, Rejected, Unknown
from worker.api.ids import requeue_run_id
from worker.api.models import Run
from worker.api.retry import DELIVER, READ, Retrier
from worker.reporting.entry_runs import after, identity_of
from worker.reporting.records import Entry
from worker.reporting.reporter import BODY_REFUSED, Standing, standing_of

__all__ = ["Requeues", "runs_of"]

STOPPING: Final = frozenset({"stopped", "cancelled", "canceled"})  # of a job: nothing of it is requeued
log = structlog.get_logger()


class Requeues:
    """Post the placeholders of requeues; whoever does it twice does it once."""

    def __init__(
        self,
        api: JobsApi,
        retrier: Retrier,
        *,
        lag_s: float,
        on_deferred: Callable[[str, str, float], None] = lambda task_id, placeholder_id, after_s: None,
    ) -> None:
        """`lag_s` is how long lists may lag; `on_deferred` is told of tasks that wait for their next run."""
        self._api = api
        self._on_deferred = on_deferred
        self._retrier = retrier
        self._lag_s = lag_s

    async def requeue(self, entry: Entry) -> None:
        """Make the task of an entry's run pending again, unless somebody decided otherwise."""
        try:
            await self._retrier.call(DELIVER, lambda: self._post_once(entry))
        except ApiError as error:
            log.error("requeue.refused", run_id=entry.run_id, task_id=entry.task_id, error=str(error))

    async def _post_once(self, entry: Entry) -> None:
        """Post a placeholder, unless an earlier try or life did, or the run is over already.

        Whoever ended it decided what becomes of its task; it may be running elsewhere by now. All that must
        be known before is asked at once: an agent that drains has little time.
        """
        id_ = requeue_run_id(entry.run_id)
        if any(await together(self._is_job_stopping(entry), self._is_over(entry), self._exists(id_))):
            return
        if "elected" in entry.marks and await self._is_continued(entry):
            return
        body = {"id": id_, "taskId": entry.task_id, "jobId": entry.job_id, "reportProgress": True}
        retry, after_s = wait_of(entry)
        if after_s > 0:
            body |= await self._tell_wait(entry, retry)
        try:
            await self._api.create_run(body)
            if after_s > 0:
                self._on_deferred(entry.task_id, id_, after_s)
        except Rejected as error:
            if await self._exists(id_):
                return
            if isinstance(error, Conflict | NotFound) and not error.is_documented:
                raise Unknown(str(error)) from error  # an ingress said it, not the API
            raise

    async def _tell_wait(self, entry: Entry, retry: Mapping[str, Any]) -> dict[str, Any]:
        """Have the wait on the server before its task is pending; return what the placeholder says of it.

        The reference lets a report have results, and a new run none; our server takes them in both.
        """
        if self._api.traits.claims_unique:
            return {"results": {"retry": retry}}
        whole = (entry.terminal or {}).get("results")  # all of them: this may arrive once more, and late
        for results in (whole, {"retry": retry}):  # what is refused whole is told cut down in the end, too
            try:
                await self._api.update_run(entry.run_id, {"startedAt": entry.started_at, "results": results})
            except Refused as error:
                log.warning("retry.wait_not_told", run_id=entry.run_id, error=str(error))
                if error.status not in BODY_REFUSED:
                    break
            except (Conflict, NotFound) as error:  # the report that stops it tells it once more
                if not error.is_documented:
                    raise Unknown(str(error)) from error  # an ingress said it, not the API
                log.warning("retry.wait_not_told", run_id=entry.run_id, error=str(error))
                break
            else:
                break
        return {}

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
        return any(not run.raw.get("startedAt") for run in after(await runs_of(self._api, entry), entry))

    async def _is_job_stopping(self, entry: Entry) -> bool:
        """Tell whether nothing of the job is to be requeued; a job that cannot be seen changes nothing."""
        if entry.job_id is None:
            return False
        job_id = entry.job_id
        try:
            state = await self._retrier.call(READ, lambda: self._state_of(job_id))
        except ApiError:
            return False
        return state in STOPPING

    async def _state_of(self, job_id: str) -> str | None:
        try:
            return (await self._api.get_job(job_id)).scheduler_state
        except (Conflict, NotFound) as error:
            if error.is_documented:
                raise
            raise Unknown(str(error)) from error  # an ingress said it, not the API


def wait_of(entry: Entry) -> tuple[Mapping[str, Any], float]:
    """Return what an outcome says of the next attempt, and how long that waits."""
    retry = wire.as_mapping(wire.as_mapping((entry.terminal or {}).get("results")).get("retry"))
    return retry, wire.as_float(retry.get("afterS")) or 0.0


async def runs_of(api: JobsApi, entry: Entry) -> list[Run]:
    """List the runs of an entry's task."""
    try:
        return await api.list_runs(job_id=entry.job_id, task_id=entry.task_id, per_page=100)
    except NotFound as error:
        if error.is_documented:
            return []
        raise Unknown(str(error)) from error  # an ingress said it, not the API


async def together(*questions: Coroutine[Any, Any, bool]) -> list[bool]:
    """Ask all at once; the first that fails ends the others, and is raised."""
    asking = [asyncio.create_task(question) for question in questions]
    try:
        return await asyncio.gather(*asking)
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
