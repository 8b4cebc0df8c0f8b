"""The Jobs API as methods: one method is one request; nothing is retried here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from worker.api import wire
from worker.api.body import decode, read_bytes, read_list
from worker.api.errors import ApiError, TransportError, error_for_status
from worker.api.models import Job, Run, Task
from worker.api.token import TokenSource
from worker.api.transport import Reply, open_reply

__all__ = ["JobsApi", "Poll", "ServerTraits"]

RETRY_AFTER_MAX_S = 3600.0  # a server that asks for more is taken as asking for this


class ServerTraits:
    """What the server's answers have told of it so far; shared by the clients of one server."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.claims_unique = False  # it says that one live run per task is sure
        self.date: datetime | None = None  # its clock, from the last answer


class Poll(msgspec.Struct, frozen=True):
    """The answer to a poll."""

    tasks: list[Task]
    waited: bool  # the server held the request, as it was asked to


M = TypeVar("M")

# The fields of run bodies that the reference does not type as strings.
NOT_STRINGS = {"POST": frozenset({"progress", "reportProgress"}), "PUT": frozenset[str]()}


class JobsApi:
    """One connection pool to one Jobs API.

    Every method raises the errors of `worker.api.errors`: `Unknown` where nobody knows whether it
    was done, `Rejected` where it was not.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        token: TokenSource,
        *,
        org_id: str | None = None,
        agent: str | None = None,
        as_strings: bool = False,
        limit_s: float = 30.0,
        traits: ServerTraits | None = None,
    ) -> None:
        """Keep what each request needs.

        `agent` is the identity that our server wants to see (`Millhand-Agent`); `as_strings` sends
        the fields of run bodies as strings, as the reference types them; `limit_s` bounds a request.
        """
        self._client = client
        self._token = token
        self._org_id = org_id
        self._agent = agent
        self._as_strings = as_strings
        self._limit_s = limit_s
        self.traits = traits or ServerTraits()

    # jobs

    async def list_jobs(
        self, *, status: str | None = None, page: int = 1, per_page: int = 30, sort: str | None = None
    ) -> list[Job]:
        """List jobs; `per_page` is at most 100."""
        query = {"status": status, "page": page, "perPage": per_page, "sort": sort}
        return await self._list("jobs", "api/jobs", query, Job.read)

    async def create_job(self, body: Mapping[str, Any]) -> Job:
        """Create a job."""
        return read_one(await self._object("POST", "api/jobs", self._with_org(body)), Job.read)

    async def get_job(self, job_id: str) -> Job:
        """Read a job."""
        return read_one(await self._object("GET", f"api/jobs/{segment(job_id)}"), Job.read)

    async def update_job(self, job_id: str, body: Mapping[str, Any]) -> Job:
        """Change a job's `parameters`; on our server also `schedulerState`, `priority`, `title`."""
        return read_one(await self._object("PUT", f"api/jobs/{segment(job_id)}", body), Job.read)

    # tasks

    async def list_tasks(
        self,
        *,
        job_id: str | None = None,
        run_status: str | None = None,
        types: Sequence[str] = (),
        page: int = 1,
        per_page: int = 30,
        sort: str | None = None,
    ) -> list[Task]:
        """List tasks; `types` is ignored by servers that do not know it."""
        query = {"jobId": job_id, "runStatus": run_status, "page": page, "perPage": per_page, "sort": sort}
        return await self._list("tasks", "api/jobs/tasks", query, Task.read, types=types)

    async def poll(self, *, types: Sequence[str] = (), page: int, per_page: int, wait_s: float = 0.0) -> Poll:
        """List pending tasks; a server that knows how holds the request up to `wait_s` until one comes."""
        query = {"runStatus": "pending", "page": page, "perPage": per_page}
        headers = {"prefer": f"wait={int(wait_s)}"} if wait_s >= 1 else {}
        request = self._request("GET", "api/jobs/tasks", query, types=types, headers=headers)
        async with self._reply(request, self._limit_s + wait_s) as reply:
            raw = await read_list(reply.chunks, "tasks", enough=per_page)
            waited = "wait" in reply.headers.get("preference-applied", "").lower()
        return Poll(read_all(raw, Task.read), waited)

    async def create_task(self, body: Mapping[str, Any]) -> Task:
        """Create a task."""
        return read_one(await self._object("POST", "api/jobs/tasks", self._with_org(body)), Task.read)

    async def get_task(self, task_id: str) -> Task:
        """Read a task."""
        return read_one(await self._object("GET", f"api/jobs/tasks/{segment(task_id)}"), Task.read)

    async def update_task(self, task_id: str, body: Mapping[str, Any]) -> Task:
        """Change a task's `parameters`."""
        return read_one(await self._object("PUT", f"api/jobs/tasks/{segment(task_id)}", body), Task.read)

    # runs

    async def list_runs(
        self, *, job_id: str | None = None, task_id: str | None = None, page: int = 1, per_page: int = 30
    ) -> list[Run]:
        """List the runs of a job or of a task."""
        query = {"jobId": job_id, "taskId": task_id, "page": page, "perPage": per_page}
        return await self._list("runs", "api/jobs/runs", query, Run.read)

    async def create_run(self, body: Mapping[str, Any]) -> Run:
        """Create a run: with `startedAt` a claim, without a placeholder."""
        return await self._run("POST", "api/jobs/runs", self._with_org(body))

    async def get_run(self, run_id: str) -> Run:
        """Read a run."""
        return await self._run("GET", f"api/jobs/runs/{segment(run_id)}")

    async def update_run(self, run_id: str, body: Mapping[str, Any]) -> Run:
        """Report on a run."""
        return await self._run("PUT", f"api/jobs/runs/{segment(run_id)}", body)

    async def list_reports(self, org_id: str, *, page: int = 1, per_page: int = 30) -> list[dict[str, Any]]:
        """List the started runs of an organisation, as the reference reports them."""
        query = {"orgId": org_id, "page": page, "perPage": per_page}
        return await self._list("runs", "api/jobs/reports", query, lambda raw: raw)

    # how a request is made

    def _with_org(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Name the organisation, if one is set and the body names none; leave out what is None."""
        given = {key: value for key, value in body.items() if value is not None}
        return {"orgId": self._org_id, **given} if self._org_id else given

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        types: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Request:
        params: list[tuple[str, str | int | float | bool | None]] = [
            (key, str(value)) for key, value in (query or {}).items() if value is not None
        ]
        params += [("type", type_) for type_ in types]
        if self._org_id and method == "GET" and query is not None and "orgId" not in query:
            params.append(("orgId", self._org_id))
        sent = dict(headers or {})
        if token := self._token.current():
            sent["authorization"] = f"Bearer {token}"
        if self._agent:
            sent[wire.AGENT_HEADER] = self._agent
        content = None
        if body is not None:
            sent["content-type"] = "application/json"
            content = msgspec.json.encode(body)
        return self._client.build_request(method, path, params=params or None, headers=sent, content=content)

    @asynccontextmanager
    async def _reply(self, request: httpx.Request, limit_s: float) -> AsyncIterator[Reply]:
        """Send, and give the reply if it is a 2xx; raise what it means otherwise."""
        what = f"{request.method} {request.url.path}"
        async with open_reply(self._client, request, limit_s, what) as reply:
            self._learn(reply.headers)
            if not 200 <= reply.status < 300:
                raise await self._error(what, reply)
            yield reply

    async def _object(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        raw, _ = await self._answer(self._request(method, path, None, body))
        return raw

    async def _answer(self, request: httpx.Request) -> tuple[dict[str, Any], Mapping[str, str]]:
        async with self._reply(request, self._limit_s) as reply:
            raw = wire.one_of(decode(await read_bytes(reply.chunks)))
            if raw is None:
                raise TransportError(f"{request.method} {request.url.path} answered no object")
            return raw, reply.headers

    async def _run(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Run:
        if body is not None and self._as_strings:
            body = stringly(body, NOT_STRINGS[method])
        raw, headers = await self._answer(self._request(method, path, None, body))
        if (run := Run.read(raw, headers)) is None:
            raise TransportError(f"{method} {path} answered no run")
        return run

    async def _list(
        self,
        key: str,
        path: str,
        query: Mapping[str, Any],
        read: Callable[[dict[str, Any]], M | None],
        *,
        types: Sequence[str] = (),
    ) -> list[M]:
        async with self._reply(self._request("GET", path, query, types=types), self._limit_s) as reply:
            return read_all(await read_list(reply.chunks, key, enough=10_000), read)

    def _learn(self, headers: Mapping[str, str]) -> None:
        """Keep what the answer tells of the server itself."""
        if headers.get(wire.CLAIMS_HEADER, "").lower() == "unique":
            self.traits.claims_unique = True
        if (date := http_date(headers.get("date"))) is not None:
            self.traits.date = date

    async def _error(self, what: str, reply: Reply) -> ApiError:
        try:
            body = decode(await read_bytes(reply.chunks, 64 * 1024))
        except TransportError:
            body = None
        error = wire.as_mapping(wire.as_mapping(body).get("error"))
        return error_for_status(
            what,
            reply.status,
            code=wire.as_text(error.get("code")),
            message=wire.as_text(error.get("message")),
            retry_after_s=retry_after(reply.headers.get("retry-after"), self.traits.date),
        )


def segment(id_: str) -> str:
    """Return an id as one segment of a path."""
    return quote(id_, safe="")


def read_all(raw: Iterable[dict[str, Any]], read: Callable[[dict[str, Any]], M | None]) -> list[M]:
    """Read every object that has an id."""
    return [one for item in raw if (one := read(item)) is not None]


def read_one(raw: dict[str, Any], read: Callable[[dict[str, Any]], M | None]) -> M:
    """Read an object that must have an id.

    Raises: TransportError where it has none: something else answered.
    """
    if (one := read(raw)) is None:
        raise TransportError("the answer has no id")
    return one


def stringly(body: Mapping[str, Any], kept: Collection[str]) -> dict[str, Any]:
    """Return a run body with every field as a string but for those in `kept`."""
    return {key: value if key in kept else text_of(value) for key, value in body.items() if value is not None}


def text_of(value: Any) -> str:
    """Return a value as text: strings as they are, everything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def http_date(value: str | None) -> datetime | None:
    """Read a date of HTTP; None where it is none."""
    try:
        at = parsedate_to_datetime(value) if value else None
    except (TypeError, ValueError):
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)


def retry_after(value: str | None, now: datetime | None) -> float | None:
    """Read `Retry-After` in seconds: a number, or a date against the server's own clock."""
    if not value:
        return None
    seconds = wire.as_float(value)
    if seconds is None and (at := http_date(value)) and now:
        seconds = (at - now).total_seconds()
    return None if seconds is None else min(max(seconds, 0.0), RETRY_AFTER_MAX_S)
