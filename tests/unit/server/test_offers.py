"""Offers at the desk: who is there, whose turn it is, and what becomes of one that gets nothing."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from server.joined import WholeExchange
from server.pending.desk import Desk
from server.pending.offers import Offer, Offers, Requester, allowed, unnoted
from server.store.commands import CreateRun, CreateTask, GiveTask, RunFields
from server.store.records import Given, JobRecord, TaskRecord
from server.store.refusal import Refused, StoreFailed
from tests.unit.server.test_desk import ids, open_desk, pending
from tests.unit.server.world import LIMIT_S, World, run_async
from worker.api.ids import claim_run_id

pytestmark = pytest.mark.usefixtures("each_store")
Got = tuple[list[str], str | None]  # the tasks, and the run


def offer_of(
    world: World,
    id_: str,
    is_there: Callable[[], bool] = lambda: True,
    at: int = 1,
    *,
    is_allowed: Callable[[], Awaitable[bool]] = allowed,
    note: Callable[[Given], None] = unnoted,
    agent: str | None = None,
) -> Offer:
    """Return an offer of an agent, which has the name of its offer unless it has another."""
    claim = CreateRun(
        org_id=world.org_id,
        created_by="me",
        task_id="",
        lease_ms=90_000,
        fields=RunFields(started_at=at, pod_id=agent or id_),
    )
    return Offer(id_, agent or id_, claim, world.clock, Requester(is_there, is_allowed, note))


def waiting(world: World, desk: Desk, offer: Offer) -> asyncio.Task[Got]:
    """Have an offer wait."""

    async def wait() -> Got:
        found, given = await desk.offer(pending(world), offer, LIMIT_S)
        return ids(found), given.run.run.id if given is not None and given.run is not None else None

    return asyncio.create_task(wait())


async def idle(desk: Desk, world: World, waiters: int = 1) -> None:
    """Return once so many wait, and their first looks are over."""
    line = desk._line._waiters
    while sum(one.is_idle for one in line.get(world.org_id, {}).values()) < waiters:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def made(desk: Desk, world: World, job: JobRecord) -> TaskRecord:
    """Make a task."""
    command = CreateTask(org_id=world.org_id, created_by="me", job_id=job.id, type="noop")
    return (await desk.create(command)).task


def test_who_came_first_is_served_first_with_an_offer_or_without() -> None:
    """A list that was held longer gets the task, to claim it; the next one comes claimed."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            job = await world.job()
            listed = asyncio.create_task(desk.wait(pending(world), "a", LIMIT_S))
            await idle(desk, world)
            offered = waiting(world, desk, offer_of(world, "b"))
            await idle(desk, world, 2)
            first = await made(desk, world, job)
            assert ids(await listed) == [first.id]
            await idle(desk, world)
            second = await made(desk, world, job)
            assert await offered == ([], claim_run_id(second.id))
            assert await world.status(first) == "pending"
            assert await world.status(second) == "running"

    run_async(body)


def test_of_several_offers_each_gets_a_task_of_its_own() -> None:
    """Tasks that are made at the same time are not claimed for the same agent."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            job = await world.job()
            offers = [waiting(world, desk, offer_of(world, f"agent-{at}")) for at in range(3)]
            await idle(desk, world, 3)
            tasks = await asyncio.gather(*(made(desk, world, job) for _ in range(3)))
            runs = [run for _, run in await asyncio.gather(*offers)]
            assert sorted(filter(None, runs)) == sorted(claim_run_id(task.id) for task in tasks)

    run_async(body)


def test_who_has_gone_is_given_nothing() -> None:
    """Its connection is known to be closed, and the line has not heard of it yet."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            job = await world.job()
            cycle: Any = SimpleNamespace(disconnected=True)
            nothing: Any = None
            exchange = WholeExchange(cycle, nothing)
            offered = waiting(world, desk, offer_of(world, "gone", lambda: exchange.is_there))
            await idle(desk, world)
            task = await made(desk, world, job)
            assert await world.status(task) == "pending"
            assert await offered == ([task.id], None)

    run_async(body)


def test_a_task_that_could_not_be_made_leaves_its_waiter_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has lost nothing, and gets the next one."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            job = await world.job()
            offered = waiting(world, desk, offer_of(world, "a"))
            await idle(desk, world)
            apply = world.store.apply

            async def fail(command: object) -> None:
                assert isinstance(command, GiveTask)
                raise StoreFailed("the disk is full")

            with monkeypatch.context() as patched:
                patched.setattr(world.store, "apply", fail)
                with pytest.raises(StoreFailed):
                    await made(desk, world, job)
            assert world.store.apply == apply
            await idle(desk, world)
            task = await made(desk, world, job)
            assert await offered == ([], claim_run_id(task.id))

    run_async(body)


def test_a_task_that_cannot_be_made_is_refused_as_ever() -> None:
    """Its id is taken: nothing is claimed, and the offer waits on."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            job = await world.job()
            offered = waiting(world, desk, offer_of(world, "a"))
            await idle(desk, world)
            command = CreateTask(org_id=world.org_id, created_by="me", job_id="none", type="noop")
            with pytest.raises(Refused, match="no job none"):
                await desk.create(command)
            await idle(desk, world)
            task = await made(desk, world, job)
            assert await offered == ([], claim_run_id(task.id))

    run_async(body)


def test_who_waits_for_a_task_is_called_though_an_offer_gets_one_in_the_same_commit() -> None:
    """What others of the group changed is told, whatever becomes of the task that is given."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            job = await world.job()
            held = structs.replace(pending(world), types=("other",))
            listed = asyncio.create_task(desk.wait(held, "a", LIMIT_S))
            await idle(desk, world)
            offered = waiting(world, desk, offer_of(world, "b"))
            await idle(desk, world, 2)
            other = CreateTask(org_id=world.org_id, created_by="me", job_id=job.id, type="other")
            answer, given = await asyncio.gather(desk.create(other), made(desk, world, job))
            assert await offered == ([], claim_run_id(given.id))
            async with asyncio.timeout(LIMIT_S / 2):
                assert ids(await listed) == [answer.task.id]

    run_async(body)


def test_an_offer_whose_token_was_revoked_meanwhile_gets_nothing() -> None:
    """Its request ends, and the task is pending, for others who wait."""

    async def forbidden() -> bool:
        return False

    async def body() -> None:
        async with open_desk() as (world, desk):
            job = await world.job()
            offered = waiting(world, desk, offer_of(world, "a", is_allowed=forbidden))
            await idle(desk, world)
            listed = asyncio.create_task(desk.wait(pending(world), "b", LIMIT_S))
            await idle(desk, world, 2)
            task = await made(desk, world, job)
            assert await offered == ([], None)
            assert ids(await listed) == [task.id]
            assert await world.status(task) == "pending"

    run_async(body)


def test_an_offer_whose_client_goes_while_its_token_is_looked_at_gets_nothing() -> None:
    """That may take a while, and nobody would hear of the run."""
    there = [True]

    async def slowly() -> bool:
        there.clear()
        return True

    async def body() -> None:
        async with open_desk() as (world, desk):
            job = await world.job()
            offered = waiting(world, desk, offer_of(world, "a", lambda: bool(there), is_allowed=slowly))
            await idle(desk, world)
            task = await made(desk, world, job)
            assert await offered == ([], None)
            assert await world.status(task) == "pending"

    run_async(body)


def test_an_offer_that_was_answered_holds_nothing_of_its_request() -> None:
    """Ten thousand are remembered; their connections are not."""

    class Request:
        """What a request keeps alive."""

        def is_there(self) -> bool:
            """Tell that it is."""
            return True

    async def body() -> None:
        async with open_desk() as (world, desk):
            request = Request()
            gone = weakref.ref(request)
            offer = offer_of(world, "a", request.is_there)
            del request
            await desk.offer(pending(world), offer, 0)
            assert gone() is None

    run_async(body)


def test_the_server_that_ends_answers_offers_with_nothing() -> None:
    """As it answers lists that it holds."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            offered = waiting(world, desk, offer_of(world, "a"))
            await idle(desk, world)
            desk.close()
            assert await offered == ([], None)

    run_async(body)


def test_the_agents_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was not heard of for longest is forgotten: its next offer is a new one."""
    monkeypatch.setattr("server.pending.offers.MOST_REMEMBERED", 2)

    async def body() -> None:
        async with open_desk() as (world, _):
            offers = Offers()
            for name in ("a", "b", "a", "c"):
                offers.begin(world.org_id, offer_of(world, name))
            with pytest.raises(Refused, match="younger"):
                offers.begin(world.org_id, offer_of(world, "a", at=0))
            assert offers.begin(world.org_id, offer_of(world, "b", at=0)) is None

    run_async(body)
