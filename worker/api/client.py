"""The Jobs API as methods: one method is one request; nothing is retried here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote

from worker.api import wire
from worker.api.batches import Batches
from worker.api.body import decode, items_of, read_bytes, read_list
from worker.api.connection import Answered, Connection, ServerTraits
from worker.api.end import End
from worker.api.errors import ApiError, EmptyAnswer, TransportError
from worker.api.models import Job, Run, Task
from worker.api.polls import Poll, has_waited
from worker.api.strings import NOT_STRINGS, stringly

__all__ = ["JobsApi", "ServerTraits"]


M = TypeVar("M")
OFFERS: Final = wire.OFFERS_HEADER.lower()
PATH_TASKS: Final = "api/jobs/tasks"
PATH_RUNS: Final = "api/jobs/runs"
LIST_MAX: Final = 10_000  # objects of one answer; far more than a page


class JobsApi:
    """One connection pool to one Jobs API.

    Every method raises the errors of `worker.api.errors`: `Unknown` where nobody knows whether it
    was done, `Rejected` where it was not.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        org_id: str | None = None,
        as_strings: bool = False,
        batches: Batches | None = None,
        is_brief: bool = False,
    ) -> None:
        """`as_strings` sends the fields of run bodies as strings, as the reference types them.

        Writes of runs go with others in one request where `batches` has some at the same time. With
        `is_brief` a server of ours is asked to answer them with what a claim or report is judged by alone.
        """
        self._is_brief = is_brief
        self._batches = batches
        self._connection = connection
        self._org_id = org_id
        self._as_strings = as_strings

    @property
    def traits(self) -> ServerTraits:
        """What the server's answers told of it."""
        return self._connection.traits

    def end_with(self, end: End) -> None:
        """Let requests take less long when that end is in sight."""
        self._connection.end = end
        if self._batches is not None:
            self._batches.connection.end = end

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
        return await self._list("tasks", PATH_TASKS, query, Task.read, types=types)

    async def poll(self, *, types: Sequence[str] = (), page: int, per_page: int, wait_s: float = 0.0) -> Poll:
        """List pending tasks; a server that knows how holds the request up to `wait_s` until one comes."""
        query = {"runStatus": "pending", "page": page, "perPage": per_page}
        prefer = f"wait={int(wait_s)}" if wait_s >= 1 else None
        connection = self._connection
        request = connection.request("GET", PATH_TASKS, params=self._params(query, types), prefer=prefer)
        raw, headers = await connection.exchange(
            request,
            lambda body: read_list(body, "tasks", per_page, is_part_enough=True),
            connection.limit_s + wait_s,
        )
        self.traits.takes_offers = OFFERS in headers
        return Poll(read_all(raw, Task.read), has_waited(headers))

    async def offer(
        self, body: Mapping[str, Any], *, types: Sequence[str], per_page: int, wait_s: float
    ) -> Poll:
        """Poll, and offer a run to the task that comes; an extension of our server."""
        connection, prefer = self._connection, f"wait={int(wait_s)}" if wait_s >= 1 else None
        params = self._params({"perPage": per_page}, types)
        request = connection.request(
            "POST", "api/offers", params=params, body=self._with_org(body), prefer=prefer
        )
        content, headers = await connection.exchange(request, read_bytes, connection.limit_s + wait_s)
        answer = decode(content)
        tasks = read_all(items_of(answer, "tasks"), Task.read)
        run = Run.read(wire.as_mapping(answer.get("run")), headers) if isinstance(answer, dict) else None
        return Poll(tasks, has_waited(headers), run)

    async def create_task(self, body: Mapping[str, Any]) -> Task:
        """Create a task."""
        return read_one(await self._object("POST", PATH_TASKS, self._with_org(body)), Task.read)

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
        return await self._list("runs", PATH_RUNS, query, Run.read)

    async def create_run(self, body: Mapping[str, Any]) -> Run:
        """Create a run: with `startedAt` a claim, without a placeholder.

        Of a brief answer the other fields are what was sent: it tells that the server has taken them.
        """
        return await self._run("POST", PATH_RUNS, self._with_org(body))

    async def get_run(self, run_id: str) -> Run:
        """Read a run."""
        return await self._run("GET", f"api/jobs/runs/{segment(run_id)}")

    async def update_run(self, run_id: str, body: Mapping[str, Any]) -> Run:
        """Report on a run."""
        return await self._run("PUT", f"api/jobs/runs/{segment(run_id)}", body)

    def begin_update(
        self, run_id: str, body: Mapping[str, Any], on_answer: Callable[[dict[str, Any] | ApiError], None]
    ) -> bool:
        """Report on a run along with other writes, and return at once; see `Batches.begin`.

        `on_answer` gets the run as the answer shows it, or the error that `update_run` would have raised.
        """
        path, prefer = f"api/jobs/runs/{segment(run_id)}", self._preference()

        def told(answer: Answered | ApiError) -> None:
            if isinstance(answer, EmptyAnswer):
                self._was_empty(prefer)
            if isinstance(answer, ApiError):
                on_answer(answer)
            else:
                has_id = wire.as_text(answer[0].get("id")) is not None
                on_answer(answer[0] if has_id else TransportError(f"PUT {path} answered no run"))

        given = stringly(body, NOT_STRINGS["PUT"]) if self._as_strings else body
        batches = self._batches
        return batches is not None and batches.begin(
            self._connection, "PUT", path, given, told, prefer=prefer
        )

    async def announce_agent(self, agent_id: str, body: Mapping[str, Any]) -> None:
        """Say how this agent stands; an extension of our server, others answer 404."""
        await self._object("PUT", f"api/agents/{segment(agent_id)}", body)

    async def list_reports(self, org_id: str, *, page: int = 1, per_page: int = 30) -> list[dict[str, Any]]:
        """List the started runs of an organisation, as the reference reports them."""
        query = {"orgId": org_id, "page": page, "perPage": per_page}
        return await self._list("runs", "api/jobs/reports", query, lambda raw: raw)

    # how a request is made

    def _with_org(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Name the organisation, if one is set and the body names none; leave out what is None."""
        given = dict(body)
        if None in given.values():
            given = {key: value for key, value in given.items() if value is not None}
        return {"orgId": self._org_id, **given} if self._org_id else given

    def _params(self, query: Mapping[str, Any], types: Sequence[str] = ()) -> list[tuple[str, str]]:
        """Return the parameters of a list: what is set, and the organisation if the query names none."""
        params = [(key, str(value)) for key, value in query.items() if value is not None]
        if self._org_id and "orgId" not in query:
            params.append(("orgId", self._org_id))
        return [*params, *(("type", type_) for type_ in types)]

    async def _object(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return (await self._connection.answer(method, path, body))[0]

    async def _run(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Run:
        raw, headers = await self._answer(method, path, body)
        if method == "POST" and body is not None and is_brief(headers):
            raw = {**body, **raw}
        if (run := Run.read(raw, headers)) is None:
            raise TransportError(f"{method} {path} answered no run")
        return run

    async def _answer(self, method: str, path: str, body: Mapping[str, Any] | None) -> Answered:
        if body is None:
            return await self._connection.answer(method, path)
        if self._as_strings:
            body = stringly(body, NOT_STRINGS[method])
        prefer = self._preference()
        try:
            if self._batches is None:
                return await self._connection.answer(method, path, body, prefer=prefer)
            return await self._batches.answer(self._connection, method, path, body, prefer=prefer)
        except EmptyAnswer:
            self._was_empty(prefer)
            raise

    def _preference(self) -> str | None:
        # Others that know of this preference may answer without a body, which a claim cannot do with.
        return wire.BRIEFLY if self._is_brief and self._connection.traits.is_ours else None

    def _was_empty(self, prefer: str | None) -> None:
        """Know of a proxy that knows the wish better: whoever repeats this is answered whole."""
        self._is_brief = self._is_brief and prefer is None

    async def _list(
        self,
        key: str,
        path: str,
        query: Mapping[str, Any],
        read: Callable[[dict[str, Any]], M | None],
        *,
        types: Sequence[str] = (),
    ) -> list[M]:
        connection = self._connection
        request = connection.request("GET", path, params=self._params(query, types))
        raw, _ = await connection.exchange(
            request, lambda body: read_list(body, key, LIST_MAX), connection.limit_s
        )
        return read_all(raw, read)


def is_brief(headers: Mapping[str, str]) -> bool:
    """Tell whether an answer says that it holds no more than asked for."""
    return wire.BRIEFLY in headers.get("preference-applied", "")


def segment(id_: str) -> str:
    """Return an id as one segment of a path; most are UUIDs, and need nothing."""
    is_plain = id_.isascii() and id_.replace("-", "").isalnum()
    return id_ if is_plain else quote(id_, safe="")


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
