"""Polls that are held: answered before who gave the task is, and given up with their client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.types import Message

from server.app import App, create_app
from server.testing import TOKEN
from tests.unit.server.world import LIMIT_S, run_async

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
HELD = {"Prefer": "wait=20", "Millhand-Agent": "a"}
PENDING = {"runStatus": "pending"}


@asynccontextmanager
async def open_app() -> AsyncIterator[tuple[App, httpx.AsyncClient]]:
    """Open a server without sockets, and a client of it."""
    app = create_app(token=TOKEN)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x", headers=HEADERS)
    async with app.router.lifespan_context(app), client:
        yield app, client


async def standing(app: App, waiters: int) -> None:
    """Return once so many polls wait."""
    while app.desk.waiting != waiters:  # noqa: ASYNC110 - the line has no event for it
        await asyncio.sleep(0)


def test_a_held_poll_is_answered_before_who_gave_the_task() -> None:
    """An agent is on its way with the task while its giver still reads that it was taken."""

    async def body() -> None:
        async with asyncio.timeout(LIMIT_S), open_app() as (app, client):
            job = (await client.post("/api/jobs", json={"type": "x"})).json()[0]["id"]
            answered: list[str] = []

            async def noted(name: str, request: Awaitable[httpx.Response]) -> dict[str, Any]:
                answer: dict[str, Any] = (await request).json()
                answered.append(name)
                return answer

            poll = asyncio.create_task(
                noted("poll", client.get("/api/jobs/tasks", params=PENDING, headers=HELD))
            )
            await standing(app, 1)
            task = await noted("giver", client.post("/api/jobs/tasks", json={"jobId": job}))
            assert [one["id"] for one in (await poll)["tasks"]] == [task["id"]]
            assert answered == ["poll", "giver"]

    run_async(body)


def test_a_held_poll_leaves_the_line_with_its_client() -> None:
    """Nobody would take the task that it is shown."""

    async def body() -> None:
        async with asyncio.timeout(LIMIT_S), open_app() as (app, _client):
            is_gone, sent = asyncio.Event(), list[Message]()

            async def receive() -> Message:
                await is_gone.wait()
                return {"type": "http.disconnect"}

            async def send(message: Message) -> None:
                sent.append(message)

            headers = [(name.lower().encode(), value.encode()) for name, value in (HEADERS | HELD).items()]
            scope = {
                "type": "http", "method": "GET", "path": "/api/jobs/tasks", "headers": headers,
                "query_string": b"runStatus=pending",
            }  # fmt: skip
            poll = asyncio.create_task(app(scope, receive, send))
            await standing(app, 1)
            is_gone.set()
            await poll
            assert app.desk.waiting == 0
            assert sent[-1]["body"] == b'{"tasks":[]}'

    run_async(body)
