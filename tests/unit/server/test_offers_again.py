"""Offers that come more than once, late, or fail: what they got is told, and no ghost waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.pending.desk import Desk
from server.pending.offers import LATE_S, NOBODY, Offer, Offers
from server.store.commands import GiveTask
from server.store.records import Given
from server.store.refusal import Refused
from tests.unit.server.test_desk import open_desk
from tests.unit.server.test_offers import idle, made, offer_of, waiting
from tests.unit.server.world import World, run_async
from worker.api.ids import claim_run_id

pytestmark = pytest.mark.usefixtures("each_store")


class SlowGifts:
    """Holds up the commits that give a task."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, world: World) -> None:
        """Stand in the way of a store."""
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        self._apply = world.store.apply
        monkeypatch.setattr(world.store, "apply", self.apply)

    async def apply(self, command: Any) -> Any:
        """Do as the store does, a gift once it may."""
        if isinstance(command, GiveTask):
            self.begun.set()
            await self.may_end.wait()
        return await self._apply(command)


async def turns() -> None:
    """Let everybody go on who can."""
    for _ in range(20):
        await asyncio.sleep(0)


def is_forgotten(offer: Offer) -> bool:
    """Tell whether it holds nothing of its request, nor its claim."""
    return offer.requester is NOBODY and offer._claim is None and offer.given is None


async def length(desk: Desk, world: World) -> int:
    """Return how many wait, once everybody has gone as far as it gets."""
    await turns()
    return desk._line.length(world.org_id)


def test_an_offer_that_somebody_between_sends_again_never_waits() -> None:
    """Its agent knows of one request and no more: a second one in line would be nobody's."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            job = await world.job()
            offered = waiting(world, desk, offer_of(world, "a", at=2))
            await idle(desk, world)
            assert await waiting(world, desk, offer_of(world, "a", at=2)) == ([], None)
            assert await offered == ([], None)
            task = await made(desk, world, job)
            assert await world.status(task) == "pending"

    run_async(body)


def test_a_third_sending_is_told_the_run_though_the_second_was_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All three are one offer: what is being committed for the first is theirs."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            job, slow = await world.job(), SlowGifts(monkeypatch, world)
            first = waiting(world, desk, offer_of(world, "a", at=1))
            await idle(desk, world)
            making = asyncio.create_task(made(desk, world, job))
            await slow.begun.wait()
            given_up = offer_of(world, "a", at=2)
            second = waiting(world, desk, given_up)
            await turns()
            second.cancel()
            third = waiting(world, desk, offer_of(world, "a", at=3))
            assert await length(desk, world) == 0
            slow.may_end.set()
            run = claim_run_id((await making).id)
            assert (await third)[1] == (await first)[1] == run
            assert is_forgotten(given_up)

    run_async(body)


def test_an_offer_that_is_not_the_newest_any_more_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """It had to let another one end first, and its agent has made a third one meanwhile."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            job, slow = await world.job(), SlowGifts(monkeypatch, world)
            offers = [offer_of(world, f"o-{at}", at=at, agent="a") for at in range(3)]
            sent = [waiting(world, desk, offers[0])]
            await idle(desk, world)
            making = asyncio.create_task(made(desk, world, job))
            await slow.begun.wait()
            for offer in offers[1:]:
                sent.append(waiting(world, desk, offer))
                await turns()
            slow.may_end.set()
            run = claim_run_id((await making).id)
            assert await asyncio.gather(*sent[:2]) == [([], run), ([], None)]
            assert await length(desk, world) == 1
            await idle(desk, world)  # its first look is over
            task = await made(desk, world, job)
            assert await sent[2] == ([], claim_run_id(task.id))

    run_async(body)


def test_a_claim_is_noted_where_its_client_goes_during_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is as durable as any other; and noted once, though the offer comes again."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            job, slow = await world.job(), SlowGifts(monkeypatch, world)
            noted: list[Given] = []
            offer = offer_of(world, "a", note=noted.append)
            offered = waiting(world, desk, offer)
            await idle(desk, world)
            making = asyncio.create_task(made(desk, world, job))
            await slow.begun.wait()
            offered.cancel()
            await turns()
            slow.may_end.set()
            run = claim_run_id((await making).id)
            with pytest.raises(asyncio.CancelledError):
                await offered
            again = offer_of(world, "a", at=2, note=noted.append)
            assert await waiting(world, desk, again) == ([], run)
            assert [given.run.run.id for given in noted if given.run is not None] == [run]
            assert is_forgotten(offer)
            assert is_forgotten(again)

    run_async(body)


def test_a_gift_that_fails_as_nobody_expected_is_no_matter_of_who_makes_the_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The task is made without it, and who offered is first in line no more."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            job, apply = await world.job(), world.store.apply

            async def fail(command: Any) -> Any:
                if isinstance(command, GiveTask):
                    raise OverflowError("date value out of range")
                return await apply(command)

            monkeypatch.setattr(world.store, "apply", fail)
            offered = waiting(world, desk, offer_of(world, "a"))
            await idle(desk, world)
            task = await made(desk, world, job)
            assert await world.status(task) == "pending"
            assert await offered == ([], None)

    run_async(body)


def test_many_agents_of_one_organisation_have_none_of_another_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who has the most remembered loses one."""
    monkeypatch.setattr("server.pending.offers.MOST_REMEMBERED", 4)

    async def body() -> None:
        async with open_desk() as (world, _):
            offers, quiet = Offers(), offer_of(world, "quiet")
            offers.begin("other", quiet)
            for at in range(20):
                offers.begin(world.org_id, offer_of(world, f"a-{at}"))
            assert offers.is_newest("other", quiet)
            with pytest.raises(Refused, match="younger"):
                offers.begin(world.org_id, offer_of(world, "a-19", at=0))
            assert offers.begin(world.org_id, offer_of(world, "a-16", at=0)) is None

    run_async(body)


def test_an_agent_whose_clock_was_set_back_offers_again_after_minutes() -> None:
    """Nothing that was sent before is on its way for so long."""

    async def body() -> None:
        async with open_desk() as (world, _):
            offers = Offers()
            offers.begin(world.org_id, offer_of(world, "o-1", at=9, agent="a"))
            world.clock.advance(LATE_S - 1)
            with pytest.raises(Refused, match="younger"):
                offers.begin(world.org_id, offer_of(world, "o-2", at=5, agent="a"))
            world.clock.advance(2)
            offers.begin(world.org_id, offer_of(world, "o-3", at=5, agent="a"))

    run_async(body)
