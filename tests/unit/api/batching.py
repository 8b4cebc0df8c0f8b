"""A server that takes writes together, in virtual time, and keeps what came in which request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from tests.simulation.loop import run_virtual
from worker.api.batches import Batches
from worker.api.client import JobsApi
from worker.api.connection import Connection, ServerTraits
from worker.api.models import Run
from worker.api.over_httpx import OverHttpx
from worker.api.token import FixedToken

__all__ = ["CLAIM", "END_A", "END_B", "Answer", "Server", "gathered", "virtually"]

Item = dict[str, Any]
Answer = tuple[int, Any] | Exception


class Server:
    """Answer runs with what was sent, and keep what arrived: a list of writes for each request."""

    def __init__(self, most: int = 32) -> None:
        """`most` is told with each answer, as the bound of a batch."""
        self.most = most
        self.requests: list[list[tuple[str, str]]] = []
        self.preferred: list[str | None] = []  # of each request
        self.of_batches: Answer | None = None  # in place of the answers
        self.of_paths: dict[str, Answer] = {}
        self.delay_s = 0.0  # of batches
        self.traits = ServerTraits()
        self.traits.batch_most = most
        transport = OverHttpx(httpx.MockTransport(self._handle))
        self.batches = Batches(self._connection(transport))
        self.claims = JobsApi(self._connection(transport), batches=self.batches)
        self.reports = JobsApi(self._connection(transport), batches=self.batches)

    def _connection(self, transport: OverHttpx) -> Connection:
        return Connection(transport, "http://api.test/base", FixedToken("t"), traits=self.traits)

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else {}
        path = request.url.path.removeprefix("/base")
        self.preferred.append(request.headers.get("prefer"))
        if path != "/api/batch":
            self.requests.append([(request.method, path)])
            status, value = self._one(path, body)
            return httpx.Response(status, json=value, headers={"Millhand-Batch": str(self.most)})
        self.requests.append([(write["method"], write["path"]) for write in body["writes"]])
        await asyncio.sleep(self.delay_s)
        if isinstance(self.of_batches, Exception):
            raise self.of_batches
        if self.of_batches is not None:
            return httpx.Response(self.of_batches[0], json=self.of_batches[1])
        answers = []
        for write in body["writes"]:
            status, value = self._one(write["path"], write["body"])
            answers.append({"status": status, "headers": {"Millhand-Lease": "90"}, "body": value})
        return httpx.Response(200, json={"answers": answers})

    def _one(self, path: str, body: Item) -> tuple[int, Any]:
        answer = self.of_paths.get(path, (200, {"id": path.rpartition("/")[2], **body}))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def claim(self, id_: str, **fields: Any) -> Awaitable[Run]:
        """Post a run."""
        return self.claims.create_run({"id": id_, "startedAt": "2026-01-01T00:00:00Z", **fields})

    def end(self, id_: str, **fields: Any) -> Awaitable[Run]:
        """Report on one."""
        return self.reports.update_run(id_, {"stoppedAt": "2026-01-01T00:00:01Z", **fields})


CLAIM, END_A, END_B = ("POST", "/api/jobs/runs"), ("PUT", "/api/jobs/runs/a"), ("PUT", "/api/jobs/runs/b")


def virtually(main: Callable[[], Awaitable[Any]]) -> Any:
    """Run in virtual time."""
    return run_virtual(main())  # type: ignore[arg-type]


async def gathered(*writes: Awaitable[Run]) -> list[Run | BaseException]:
    """Make writes at once; return their runs, or why there is none."""
    return await asyncio.gather(*writes, return_exceptions=True)
