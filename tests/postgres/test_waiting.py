"""Long polls across servers: who waits at one is woken for what comes to another, and nobody else."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from server.store.postgres.notices import LISTENER
from server.store.queries import TaskQuery
from server.store.records import TaskAnswer
from tests.postgres.stores import LIMIT_S, Server, run_async, servers

LISTENERS = """
SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"""
CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE %s"""


def waiting(server: Server, agent: str) -> asyncio.Task[list[TaskAnswer]]:
    """Begin to wait at a server."""
    query = TaskQuery(org_id=server.org_id, statuses=("pending",))
    return asyncio.create_task(server.desk.wait(query, agent, LIMIT_S))


async def in_line(server: Server, count: int) -> None:
    """Return once so many wait there, and none of them looks any more."""
    while server.desk._line.length(server.org_id) < count:  # noqa: ASYNC110 - the line has no event for it
        await asyncio.sleep(0.01)
    await server.store.has_tokens()  # behind their looks in the queue


async def listening(url: str, count: int) -> None:
    """Return once so many servers listen."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        while True:
            row = await (await db.execute(LISTENERS, (LISTENER,))).fetchone()
            if row is not None and row[0] == count:
                return
            await asyncio.sleep(0.01)


async def settled(url: str) -> None:
    """Return once all servers listen and have looked at what came before."""
    await listening(url, 3)
    await asyncio.sleep(0.2)


def test_as_many_waiters_are_woken_as_tasks_came_whoever_they_wait_at(url: str) -> None:
    """Two tasks that come to a server where nobody waits wake two of the six that wait elsewhere."""

    async def body() -> None:
        async with servers(url, 3) as (one, two, three):
            await settled(url)
            waiters = [waiting(server, f"a{n}") for n, server in enumerate([two, three] * 3)]
            await in_line(two, 3)
            await in_line(three, 3)
            looks = count_looks([two, three])
            job = await one.job()
            tasks = {(await one.task(job)).id for _ in range(2)}
            while sum(waiter.done() for waiter in waiters) < 2:  # noqa: ASYNC110 - any two of them
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.3)  # time in which others would be woken too
            answered = [waiter for waiter in waiters if waiter.done()]
            # Two at different servers may be shown the same one: who is late with its claim looks again.
            assert {answer.task.id for waiter in answered for answer in waiter.result()} <= tasks
            assert len(answered) == 2
            # A reservation that ends wakes one more, after a second; nobody else has looked.
            assert sum(looks.values()) <= 4
            for waiter in waiters:
                waiter.cancel()
            await asyncio.gather(*waiters, return_exceptions=True)

    run_async(body)


def count_looks(among: list[Server]) -> dict[int, int]:
    """Count how often the lists of tasks are read."""
    looks = dict.fromkeys(range(len(among)), 0)
    for number, server in enumerate(among):
        real = server.store.tasks

        async def counted(query: TaskQuery, number: int = number, real: object = real) -> list[TaskAnswer]:
            looks[number] += 1
            found: list[TaskAnswer] = await real(query)  # type: ignore[operator]
            return found

        server.store.tasks = counted  # type: ignore[method-assign] # to see that nobody is woken for nothing
    return looks


def test_a_waiter_here_is_woken_without_the_others(url: str) -> None:
    """What can be handed out where it came is told to no other server."""

    async def body() -> None:
        async with servers(url, 3) as (one, two, _):
            await settled(url)
            here, there = waiting(one, "here"), waiting(two, "there")
            await in_line(one, 1)
            await in_line(two, 1)
            task = await one.task(await one.job())
            assert [answer.task.id for answer in await here] == [task.id]
            await one.claim(task)
            await asyncio.sleep(0.2)
            assert not there.done()
            there.cancel()
            await asyncio.gather(there, return_exceptions=True)

    run_async(body)


@pytest.mark.parametrize("which", ["listener", "all"])
def test_a_lost_listener_listens_again_and_looks(url: str, which: str) -> None:
    """Connections that are cut, all or one, cost a waiter a moment."""

    async def body() -> None:
        async with servers(url, 2) as (one, two):
            await listening(url, 2)
            waiter = waiting(two, "a")
            await in_line(two, 1)
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
                await db.execute(CUT, (LISTENER if which == "listener" else "%",))
            task = await one.task(await one.job())
            assert [answer.task.id for answer in await waiter] == [task.id]
            await listening(url, 2)

    run_async(body)


def test_a_burst_of_many_kinds_is_told_in_parts(url: str) -> None:
    """Types and organisations beyond what one notice takes reach the others all the same."""

    async def body() -> None:
        async with servers(url, 2) as (one, two):
            await listening(url, 2)
            job = await one.job()
            types = [f"{number}-" + "x" * 900 for number in range(30)]
            waiters = []
            for type_ in types:
                query = TaskQuery(org_id=two.org_id, statuses=("pending",), types=(type_,))
                waiters.append(asyncio.create_task(two.desk.wait(query, type_[:4], LIMIT_S)))
            await in_line(two, len(types))
            await asyncio.gather(*(one.task(job, type=type_) for type_ in types))
            found = [answers[0].task.type for answers in await asyncio.gather(*waiters)]
            assert found == types

    run_async(body)
