"""Our client reads every server alike: ours, a foreign one, and one of the oddest forms."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from uuid import uuid4

import pytest

from server.testing import RunningServer, running_server
from tests.contract.caller import STARTED, STOPPED
from tests.foreign import ForeignServer, foreign_server
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.api.errors import (
    ApiError,
    Conflict,
    Forbidden,
    NotFound,
    Refused,
    ServerError,
    TransportError,
    Unauthorized,
)
from worker.api.models import Identity, most_recent
from worker.api.wire import RunStatus, parse_instant
from worker.config import ApiConfig

LIMIT_S = 30.0
ODD = {"wrapped": True, "numbers_as_strings": True, "unpaged": True}
KINDS = ("ours", "ours in strings", "foreign", "foreign and odd", "foreign in strings")
STARTED_AT = parse_instant(STARTED)

Server = RunningServer | ForeignServer


@pytest.fixture(params=KINDS)
def config(request: pytest.FixtureRequest) -> Iterator[ApiConfig]:
    """The settings for a server of each kind."""
    with contextlib.ExitStack() as stack:
        server: Server
        if request.param.startswith("ours"):
            server = stack.enter_context(running_server())
        elif request.param == "foreign and odd":
            server = stack.enter_context(foreign_server(**ODD))
        else:
            server = stack.enter_context(foreign_server(strings="strings" in request.param))
        is_stringly = "strings" in request.param
        yield ApiConfig(url=server.url, token=server.token, wire="strings" if is_stringly else "json")


async def claimed(api: JobsApi, **facts: object) -> tuple[str, str]:
    """Create a job with a task and claim it; return the ids of task and run."""
    job = await api.create_job({"title": "job", "type": "noop"})
    task = await api.create_task({"jobId": job.id, "type": "noop", "title": "task", "parameters": {"a": 1}})
    body = {"id": str(uuid4()), "taskId": task.id, "startedAt": STARTED, "podId": "pod/a"}
    run = await api.create_run({**body, **facts})
    return task.id, run.id


def test_a_run_is_read_alike_from_claim_to_stop(config: ApiConfig) -> None:
    """Identity, status, progress, result and counters, whatever form the server answers in."""

    async def scenario() -> None:
        async with asyncio.timeout(LIMIT_S), open_api(config, agent="pod/a") as api:
            task_id, run_id = await claimed(api, nodeCPUs=16, nodeRAM=1 << 40, preemptible=True)
            run = await api.get_run(run_id)
            assert STARTED_AT is not None
            assert Identity("pod/a", STARTED_AT).owns(run)
            assert (run.task_id, run.status, run.stopped_at) == (task_id, RunStatus.RUNNING, None)
            run = await api.update_run(run_id, {"startedAt": STARTED, "progress": 0.5})
            assert run.progress == 0.5
            task = await api.get_task(task_id)
            assert (task.run_status, task.run_progress, task.parameters) == ("running", 0.5, {"a": 1})
            stop = {"startedAt": STARTED, "stoppedAt": STOPPED, "resultCode": "Success", "progress": 1}
            run = await api.update_run(run_id, stop | {"results": {"value": 1}})
            assert (run.status, run.result_code, run.progress) == (RunStatus.STOPPED, "Success", 1.0)
            latest = most_recent(await api.list_runs(task_id=task_id))
            assert latest is not None
            assert latest.raw == (await api.get_run(run_id)).raw
            assert task.job_id is not None
            job = await api.get_job(task.job_id)
            assert (job.status, job.task_count, job.task_result_successes) == ("stopped", 1, 1)

    asyncio.run(scenario())


def test_pending_tasks_are_found_and_running_ones_are_not(config: ApiConfig) -> None:
    """A poll, with and without a wait; whatever the server knows of waiting."""

    async def scenario() -> None:
        async with asyncio.timeout(LIMIT_S), open_api(config) as api:
            await claimed(api)
            job = await api.create_job({"type": "noop"})
            ids = {(await api.create_task({"jobId": job.id, "type": "noop"})).id for _ in range(3)}
            for wait_s in (0.0, 5.0):
                poll = await api.poll(types=("noop",), page=1, per_page=50, wait_s=wait_s)
                assert {task.id for task in poll.tasks} <= ids
            listed = await api.list_tasks(job_id=job.id, run_status="pending")
            assert {task.id for task in listed} == ids

    asyncio.run(scenario())


def test_what_the_server_says_no_to_is_the_same_error_everywhere(config: ApiConfig) -> None:
    """Not there, refused, not let in: by what it means, with the documented code."""

    async def scenario() -> None:
        async with asyncio.timeout(LIMIT_S), open_api(config) as api:
            for call in (api.get_job, api.get_task, api.get_run):
                assert (await failed(call("nothing"))) is NotFound
            assert await failed(api.create_run({"taskId": "nothing", "startedAt": STARTED})) is Refused
            _, run_id = await claimed(api)
            again = {"id": run_id, "taskId": (await api.get_run(run_id)).task_id, "podId": "pod/b"}
            assert await failed(api.create_run(again | {"startedAt": STARTED})) is Conflict
        for token, expected in (("wrong", Unauthorized), (None, Forbidden)):
            other = ApiConfig(url=config.url, token=token)
            async with asyncio.timeout(LIMIT_S), open_api(other) as api:
                assert await failed(api.list_jobs()) is expected

    asyncio.run(scenario())


async def failed(call: object) -> type[ApiError]:
    """Return the kind of error that a call raises, which must have the documented body."""
    with pytest.raises(ApiError) as caught:
        await call  # type: ignore[misc]  # any of the client's coroutines
    assert caught.value.is_documented
    return type(caught.value)


def test_an_answer_that_gets_lost_is_unknown_and_the_run_may_be_there() -> None:
    """The error says that nobody knows; asking by id tells."""

    async def scenario() -> None:
        with foreign_server() as server:
            config = ApiConfig(url=server.url, token=server.token)
            async with asyncio.timeout(LIMIT_S), open_api(config) as api:
                task_id = server.add_task()
                body = {"id": str(uuid4()), "taskId": task_id, "startedAt": STARTED}
                server.lose_answer(method="POST", path="/runs$")
                with pytest.raises(TransportError):
                    await api.create_run(body)
                assert (await api.get_run(body["id"])).is_live
                server.fail_next(503, headers={"Retry-After": "7"})
                with pytest.raises(ServerError) as caught:
                    await api.get_run(body["id"])
                assert caught.value.retry_after_s == 7
                assert not caught.value.is_documented

    asyncio.run(scenario())


def test_only_our_server_says_that_claims_are_unique(
    config: ApiConfig, request: pytest.FixtureRequest
) -> None:
    """What is better with our server is found out by its answers, never assumed."""

    async def scenario() -> None:
        async with asyncio.timeout(LIMIT_S), open_api(config) as api:
            await claimed(api)
            assert api.traits.claims_unique is ("ours" in request.node.name)

    asyncio.run(scenario())
