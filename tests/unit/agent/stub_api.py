"""A Jobs API made of a function: the real client, over httpx's own mock transport."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from worker.api.client import JobsApi
from worker.api.connection import Connection
from worker.api.models import Run, Task
from worker.api.over_httpx import OverHttpx
from worker.api.token import FixedToken

Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]] | Exception


class Request(msgspec.Struct):
    """A request as the stub sees it."""

    method: str
    path: str
    query: dict[str, str]
    body: dict[str, Any]
    headers: dict[str, str]


class StubApi:
    """Answer each request by a function, and keep what was asked."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        """`answer` returns status and body (and headers), or an exception of the transport to raise."""
        self.requests: list[Request] = []
        self.delay_s = 0.0  # before each answer
        self._answer = answer
        transport = OverHttpx(httpx.MockTransport(self._handle))
        self.api = JobsApi(Connection(transport, "http://api.test", FixedToken("secret-token")))

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else {}
        seen = Request(
            request.method, request.url.path, dict(request.url.params), body, dict(request.headers)
        )
        self.requests.append(seen)
        await asyncio.sleep(self.delay_s)
        answer = self._answer(seen)
        if isinstance(answer, Exception):
            raise answer
        status, value, *headers = answer
        return httpx.Response(status, json=value, headers=headers[0] if headers else None)

    def asked(self, method: str, path: str = "") -> list[Request]:
        """Return the requests of a method below a path."""
        return [one for one in self.requests if one.method == method and path in one.path]


def error(code: str) -> dict[str, Any]:
    """Return the documented body of an error."""
    return {"error": {"code": code, "message": code.replace("_", " ")}}


def run(id_: str, **fields: Any) -> Run:
    """Return a run as a server shows it."""
    read = Run.read({"id": id_, "taskId": "t", "createdAt": "2026-01-01T00:00:00.000Z", **fields})
    assert read is not None
    return read


def task(id_: str = "t", **fields: Any) -> Task:
    """Return a pending task as a server lists it."""
    read = Task.read({"id": id_, "jobId": "j", "type": "noop", "runStatus": "pending", **fields})
    assert read is not None
    return read
