"""Offers that are given up, refused or heard of late: no task of theirs stands still; in virtual time."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, cast

import pytest

from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine
from tests.simulation.world import World
from tests.unit.agent.offering import HOLD_S, LOST, OURS, Agent, Server, lived
from tests.unit.agent.stub_api import Answer, Request, error
from worker.agent.poller import Poller
from worker.api.errors import ApiError
from worker.api.wire import ErrorKind

LEASE_S = 90.0
REFUSALS: list[Answer] = [
    (429, error("rate_limited"), OURS),
    (401, error("unauthorized"), OURS),
    (403, "<html>a proxy</html>"),
    (404, "<html>a proxy</html>"),
    (409, "<html>a proxy</html>"),
]


class Refusing(Server):
    """Answers some offers as it is told, in full."""

    def __call__(self, request: Request) -> Answer:
        """Answer."""
        if request.path == "/api/offers" and self.answers and isinstance(self.answers[0], tuple):
            return cast(Answer, self.answers.pop(0))
        return super().__call__(request)


@pytest.mark.parametrize("step", ["intent", "outcome"])
def test_a_task_is_given_back_though_its_poll_is_given_up_meanwhile(step: str) -> None:
    """A type gets room, or the agent drains, amid a write: an entry must not stay behind alone."""

    async def scene(agent: Agent) -> None:
        agent.lacks = ("needs a GPU",)
        agent.io.gate, agent.io.syncing = asyncio.Event(), asyncio.Event()
        asking = asyncio.create_task(agent.poll())
        while not agent.journal.entries:  # noqa: ASYNC110 - a few rounds of the loop
            await asyncio.sleep(0)
        if step == "outcome":
            await agent.io.syncing.wait()
        asking.cancel()
        await asyncio.wait({asking})
        assert asking.cancelled()
        assert agent.given_back == []
        agent.io.gate.set()
        await agent.offers.settle(1.0)

    agent = lived(Server({"nodeCPUs": 2}), scene)
    (entry,) = agent.given_back
    assert entry.has_outcome
    assert entry.requeue


def test_a_drain_waits_until_what_is_given_back_is_written_down() -> None:
    """On a slow disk too; its report is one of the last."""

    async def main() -> bool:
        agent = await Machine(World(1, "key", 0.0, 0), "pod/a").agent()
        life = asyncio.create_task(agent.run())
        await asyncio.sleep(1.0)
        writing = agent.supervisor._offers._giving.start(asyncio.sleep(5.0))
        agent.drain.request(ErrorKind.DRAINED, "SIGTERM")
        await life
        return writing.done() and not writing.cancelled()

    assert run_virtual(main())


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda answer: str(answer[0]))
def test_an_offer_whose_answer_was_lost_is_not_forgotten_by_a_refusal(refusal: Answer) -> None:
    """It may have a task: while offers rest, what became of it is asked once, without a wait."""

    async def scene(agent: Agent) -> None:
        with pytest.raises(ApiError):
            await agent.poll()
        assert not (await agent.poll()).is_claimed
        assert (await agent.poll()).is_claimed
        await agent.poll()

    offered = lived(Refusing(LOST, refusal, {"nodeCPUs": 2}), scene).offered()
    assert len({one.body["id"] for one in offered}) == 1
    assert ["prefer" in one.headers for one in offered] == [True, True, False]


def test_an_offer_that_is_refused_again_and_again_is_asked_for_once_a_rest() -> None:
    """Lists go on meanwhile, and nobody is hammered."""

    async def scene(agent: Agent) -> None:
        with pytest.raises(ApiError):
            await agent.poll()
        for _ in range(9):
            await agent.poll()

    assert len(lived(Refusing(LOST, *(REFUSALS[0],) * 9), scene).offered()) == 3


@pytest.mark.parametrize("status", [409, 422])
def test_an_offer_that_the_api_itself_knows_to_be_over_is_forgotten(status: int) -> None:
    """Nothing is asked of it any more."""

    async def scene(agent: Agent) -> None:
        with pytest.raises(ApiError):
            await agent.poll()
        await agent.poll()
        await agent.poll()

    assert len(lived(Server(LOST, status), scene).offered()) == 2


def test_a_task_that_came_while_its_type_was_filled_is_given_back_at_once() -> None:
    """Dropped, it would have a run that nobody starts, for as long as its agent lives."""

    async def scene(agent: Agent) -> None:
        settings: dict[str, Any] = {"poll_interval_s": 5.0, "poll_max_s": 60.0, "long_poll_s": HOLD_S}
        poller = Poller(
            agent.stub.api, agent.clock, Random(1), agent_id="a", types=["noop"], unmet=lambda _: (),
            offers=agent.offers, type_limits={"noop": 1}, **settings,
        )  # fmt: skip
        agent.stub.delay_s = 1.0
        asyncio.get_running_loop().call_later(0.5, poller.rooms.take, "noop")
        assert await poller.next_or_none(1) is None

    assert [entry.task_id for entry in lived(Server({"nodeCPUs": 2}), scene).given_back] == ["t"]


@pytest.mark.parametrize(("waited_s", "others"), [(LEASE_S - 1.0, []), (LEASE_S + 1.0, ["t"])])
def test_a_claim_whose_lease_is_over_for_certain_is_none(waited_s: float, others: list[str]) -> None:
    """The task may be anybody's by now: it is claimed as any other."""

    async def scene(agent: Agent) -> None:
        poll = await agent.poll()
        await asyncio.sleep(waited_s)
        await agent.offers.claim(poll.tasks[0])

    assert lived(Server({"nodeCPUs": 2}), scene).others == others


@pytest.mark.parametrize(("step_s", "is_kept"), [(3600.0, False), (-3600.0, False), (1.0, True)])
def test_no_handler_starts_on_a_run_of_the_clock_before(step_s: float, is_kept: bool) -> None:
    """The time of day was set while the offer was held: a run of moments would show an hour."""

    async def scene(agent: Agent) -> None:
        def step() -> None:
            agent.clock.ahead_s += step_s

        agent.stub.delay_s = HOLD_S
        asyncio.get_running_loop().call_later(HOLD_S / 2, step)
        assert (await agent.poll()).is_claimed is is_kept

    given_back = lived(Server({"nodeCPUs": 2}), scene).given_back
    assert [f"the clock was set by {step_s:.0f} s" in str(entry.terminal) for entry in given_back] == (
        [] if is_kept else [True]
    )
