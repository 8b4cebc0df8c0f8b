"""Every request that our client can make, by name, and what becomes of one on a server that misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from tests.contract.misbehaving import Act, misbehaving
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.api.errors import ApiError
from worker.config import ApiConfig

__all__ = ["CALLS", "LIMIT_S", "LISTS", "OBJECTS", "Call", "answer_to", "failure_of"]

LIMIT_S: Final = 30.0  # a bound for a hang, not a measure

Call = Callable[[JobsApi], Awaitable[Any]]

LISTS: Final[dict[str, Call]] = {
    "list_jobs": lambda api: api.list_jobs(),
    "list_tasks": lambda api: api.list_tasks(run_status="pending"),
    "poll": lambda api: api.poll(types=("noop",), page=1, per_page=100, wait_s=0.0),
    "list_runs": lambda api: api.list_runs(task_id="t"),
    "list_reports": lambda api: api.list_reports("o"),
}
OBJECTS: Final[dict[str, Call]] = {
    "create_job": lambda api: api.create_job({"type": "noop"}),
    "get_job": lambda api: api.get_job("j"),
    "update_job": lambda api: api.update_job("j", {"parameters": {}}),
    "create_task": lambda api: api.create_task({"jobId": "j"}),
    "get_task": lambda api: api.get_task("t"),
    "update_task": lambda api: api.update_task("t", {"parameters": {}}),
    "create_run": lambda api: api.create_run({"id": "r", "taskId": "t"}),
    "get_run": lambda api: api.get_run("r"),
    "update_run": lambda api: api.update_run("r", {"progress": 0.5}),
}
CALLS: Final = LISTS | OBJECTS


async def answer_to(act: Act, call: Call, limit_s: float = LIMIT_S) -> Any:
    """Make one request to a server that does this with it; the client gives up after `limit_s`."""
    async with asyncio.timeout(LIMIT_S), misbehaving(act) as server:
        config = ApiConfig(url=server.url, token="t", request_timeout_s=limit_s)
        async with open_api(config) as api:
            return await call(api)


async def failure_of(act: Act, call: Call, limit_s: float = LIMIT_S) -> ApiError:
    """Return the error of one request to a server that does this with it."""
    with pytest.raises(ApiError) as caught:
        await answer_to(act, call, limit_s)
    return caught.value
