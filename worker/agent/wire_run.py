"""Runs as the agent writes them to server and journal; each method one errand, repeated as needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from random import Random
from typing import Any, TypeVar

import structlog

from worker.agent.claim_rules import continued_as
from worker.api.client import JobsApi
from worker.api.connection import ServerTraits
from worker.api.errors import ApiError, Forbidden, NotFound, RateLimited, Rejected, Unauthorized, Unknown
from worker.api.models import Identity, Run, Task
from worker.api.retry import PATIENT, Backoff, Policy, Retrier
from worker.api.wire import ErrorKind, ResultCode, format_error, format_instant, parse_instant
from worker.clock import Clock
from worker.reporting.records import Entry

__all__ = ["DENIED", "RunWire"]

PAGES_MAX = 100  # of 100 runs each: no task has had more attempts than that
PER_PAGE = 100  # the most that the documented API gives
SHORT_PAGE = 10  # a shorter page is the last one, whatever size a server gives its pages
CLOSE_MAX = 20  # tries to close a run that a server refuses to close although it shows it live
DENIED = (RateLimited, Unauthorized, Forbidden)  # answers that say nothing about what was asked for
T = TypeVar("T")
log = structlog.get_logger()


class SleepingBackoff(Backoff):
    """A back-off that waits by itself."""

    def __init__(self, random: Random, policy: Policy, retrier: Retrier) -> None:
        """Wait as the policy says, and as the retrier does when the end is near."""
        super().__init__(random, policy.base_s, policy.cap_s)
        self._retrier = retrier

    async def sleep(self, error: ApiError) -> None:
        """Wait before the next try."""
        await self._retrier.pause(self.next_s(error.retry_after_s), error.retry_after_s or 0.0)


class RunWire:
    """The requests about runs that claiming, reporting and recovery share."""

    def __init__(
        self,
        api: JobsApi,
        retrier: Retrier,
        clock: Clock,
        random: Random,
        facts: Callable[[], Mapping[str, Any]],
    ) -> None:
        """`facts` gives the machine's fields of a claim that are known."""
        self._api = api
        self._retrier = retrier
        self._clock = clock
        self._random = random
        self._facts = facts

    @property
    def traits(self) -> ServerTraits:
        """What the server's answers told of it."""
        return self._api.traits

    def backoff(self, policy: Policy) -> SleepingBackoff:
        """Return the waits between tries that are made by hand."""
        return SleepingBackoff(self._random, policy, self._retrier)

    def identity_fields(self, identity: Identity) -> dict[str, str]:
        """Return the two fields that name a claim."""
        return {"podId": identity.pod_id, "startedAt": format_instant(identity.started_at)}

    def probe_mark(self, probe: Identity) -> str:
        """Return what the journal notes of a probe, so that a recovery knows the identity."""
        return f"probe|{format_instant(probe.started_at)}|{probe.pod_id}"

    def claim_body(self, task: Task, run_id: str, identity: Identity) -> dict[str, Any]:
        """Return the body of a claim: ids, identity, facts. `createdAt` is never sent."""
        return {
            "id": run_id,
            "taskId": task.id,
            "jobId": task.job_id,
            "orgId": task.org_id,
            "reportProgress": True,
            "progress": 0,
            **self._of_agent(identity),
        }

    def offer_body(self, offer_id: str, identity: Identity) -> dict[str, Any]:
        """Return the body of an offer: its id, and what a claim says of the agent."""
        return {"id": offer_id, "reportProgress": True, "progress": 0, **self._of_agent(identity)}

    def _of_agent(self, identity: Identity) -> dict[str, Any]:
        return {**self.identity_fields(identity), **self._facts()}

    def entry(self, task: Task, run_id: str, identity: Identity, body: dict[str, Any]) -> Entry:
        """Return the journal's entry of a claim that is about to be posted."""
        return Entry(
            run_id=run_id,
            task_id=task.id,
            job_id=task.job_id,
            task_type=task.type,
            pod_id=identity.pod_id,
            started_at=format_instant(identity.started_at),
            intent=body,
        )

    async def create(self, body: Mapping[str, Any]) -> Run:
        """Post a run, once."""
        return await self._api.create_run(body)

    async def look(self, run_id: str) -> Run | None:
        """Read a run, asking until there is an answer; None where there is none (yet)."""
        try:
            return await self.patiently(lambda: self._api.get_run(run_id))
        except NotFound:
            return None

    async def task_of(self, entry: Entry) -> Task:
        """Read the task of an entry, asking once; where that fails, return what the entry tells of it."""
        try:
            return await self._api.get_task(entry.task_id)
        except ApiError:
            if (known := Task.read({"id": entry.task_id, "type": entry.task_type})) is None:
                raise
            return known

    async def list_all(self, task_id: str, job_id: str | None) -> list[Run]:
        """List all runs of a task, page by page, asking until there is an answer."""
        seen: dict[str, Run] = {}
        for page in range(1, PAGES_MAX + 1):
            runs = await self.patiently(lambda page=page: self._page(task_id, job_id, page))  # type: ignore[misc]
            known = len(seen)
            seen.update((run.id, run) for run in runs)
            if len(runs) < SHORT_PAGE or len(seen) == known:  # who does not page sends all, every time
                break
        return [run for run in seen.values() if run.task_id in (None, task_id)]

    async def _page(self, task_id: str, job_id: str | None, page: int) -> list[Run]:
        try:
            return await self._api.list_runs(job_id=job_id, task_id=task_id, page=page, per_page=PER_PAGE)
        except NotFound as error:
            if error.is_documented:
                return []  # of a task that is gone
            raise Unknown(str(error)) from error  # an ingress said it, not the API

    async def close_placeholders(self, placeholders: Iterable[Run], run_id: str) -> None:
        """Close what only said that the task is pending again; our server does it with the claim."""
        if self.traits.claims_unique:
            return
        for placeholder in placeholders:
            await self._close(placeholder.id, self._end(ErrorKind.REQUEUED, continued_as(run_id)))

    async def close_lost(self, run_id: str, identity: Identity, why: str) -> None:
        """Stop a run of ours in which nothing was executed, without requeue."""
        await self._close(run_id, self.lost_report(identity, why))

    def lost_report(self, identity: Identity, why: str) -> dict[str, Any]:
        """Return the body that stops a run of ours in which nothing was executed."""
        return {"startedAt": format_instant(identity.started_at), **self._end(ErrorKind.LOST_CLAIM, why)}

    def _end(self, kind: ErrorKind, why: str) -> dict[str, Any]:
        return {
            "stoppedAt": format_instant(self._clock.now()),
            "resultCode": str(ResultCode.FAILED),
            "error": format_error(kind, why),
        }

    async def _close(self, run_id: str, body: Mapping[str, Any]) -> None:
        backoff = self.backoff(PATIENT)
        for _ in range(CLOSE_MAX):
            try:
                await self.patiently(lambda: self._api.update_run(run_id, body))
                return
            except Rejected as rejected:
                if await self._is_closed(run_id, body, rejected):
                    return
                await backoff.sleep(rejected)
        log.error("run.not_closed", run_id=run_id, hint="it holds its task until a person stops it")

    async def _is_closed(self, run_id: str, body: Mapping[str, Any], rejected: Rejected) -> bool:
        """Tell whether a refused stop is settled: the run is over, gone, or somebody else's by now."""
        try:
            run = await self.patiently(lambda: self._api.get_run(run_id))
        except Rejected as error:
            return isinstance(error, NotFound) and error.is_documented and rejected.is_documented
        started_at = parse_instant(body.get("startedAt"))
        return bool(run.raw.get("stoppedAt")) or (started_at is not None and run.started_at != started_at)

    async def patiently(self, request: Callable[[], Awaitable[T]]) -> T:
        """Make a request until it is answered."""
        return await self._retrier.call(PATIENT, request)
