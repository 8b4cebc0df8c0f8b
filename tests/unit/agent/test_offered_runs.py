"""An agent that waits offers a run: what each answer means to it; in virtual time, against a stub."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.agent.offering import HOLD_AS_TIME, HOLD_S, LOST, OURS, RATE, Agent, Server, lived
from worker.agent.offers import REST_S
from worker.api.errors import ApiError
from worker.api.ids import claim_run_id
from worker.api.models import Task


def test_a_task_that_comes_claimed_is_written_down_before_its_handler_starts() -> None:
    """The intent names run and identity as any claim's does, so a recovery finds the run."""

    async def scene(agent: Agent) -> None:
        poll = await agent.poll()
        assert poll.is_claimed
        claim = await agent.offers.claim(poll.tasks[0])
        assert claim is not None
        (entry,) = agent.journal.entries.values()
        assert entry.run_id == claim.run.id == claim_run_id("t")
        assert (entry.task_id, entry.pod_id) == ("t", "pod/a")
        assert entry.started_at == agent.offered()[0].body["startedAt"]
        assert claim.identity.owns(claim.run)

    agent = lived(Server({"nodeCPUs": 2}), scene)
    assert agent.others == []


def test_what_no_offer_brought_is_claimed_as_ever() -> None:
    """A list may come in answer to an offer, too."""

    async def scene(agent: Agent) -> None:
        task = Task.read({"id": "listed", "type": "noop"})
        assert task is not None
        assert await agent.offers.claim(task) is None

    assert lived(Server(), scene).others == ["listed"]


def test_an_offer_without_an_answer_is_sent_again_as_the_same() -> None:
    """So its run is found, if it got one; the lease counts from the first sending then."""

    async def scene(agent: Agent) -> None:
        began = agent.clock.mono()
        with pytest.raises(ApiError):
            await agent.poll()
        await asyncio.sleep(20.0)
        poll = await agent.poll()
        claim = await agent.offers.claim(poll.tasks[0])
        assert claim is not None
        assert claim.since_mono == began

    agent = lived(Server(LOST, {"startedAt": "2099-01-01T00:00:00.000Z"}), scene)
    first, second = agent.offered()
    assert first.body["id"] == second.body["id"]
    assert first.body["startedAt"] < second.body["startedAt"]


def test_the_next_offer_is_another_one() -> None:
    """What was answered is over, whatever was said."""

    async def scene(agent: Agent) -> None:
        await agent.poll()
        await agent.poll()

    assert len({one.body["id"] for one in lived(Server(), scene).offered()}) == 2


def test_a_lease_counts_from_when_the_server_claimed() -> None:
    """By what the run's start says that it waited; of which a tenth is not believed, for clocks differ."""

    async def scene(agent: Agent) -> None:
        agent.stub.delay_s = HOLD_S
        began, now = agent.clock.mono(), agent.clock.now()
        agent.stub._answer.answers = [  # type: ignore[attr-defined]
            {"startedAt": (now.replace(microsecond=0) + HOLD_AS_TIME).isoformat()}
        ]
        poll = await agent.poll()
        claim = await agent.offers.claim(poll.tasks[0])
        assert claim is not None
        assert claim.since_mono is not None
        waited_s = claim.since_mono - began
        assert RATE * (HOLD_S - 1) <= waited_s <= RATE * HOLD_S

    lived(Server(), scene)


@pytest.mark.parametrize(
    "other",
    [
        {"id": "another"},
        {"taskId": "another"},
        {"podId": "pod/b"},
        {"startedAt": "2001-01-01T00:00:00.000Z"},
        {"startedAt": None},
        {"stoppedAt": "2099-01-01T00:00:00.000Z"},
    ],
)
def test_a_run_that_was_not_offered_is_none_of_ours(other: dict[str, Any]) -> None:
    """Another agent's, or of another time: nothing starts on it, and offers rest."""

    async def scene(agent: Agent) -> None:
        poll = await agent.poll()
        assert not poll.is_claimed
        assert poll.tasks == []
        await agent.poll()

    assert len(lived(Server(other), scene).offered()) == 1


def test_a_task_that_cannot_begin_here_is_given_back() -> None:
    """Requeued and then closed as a claim that was lost, by what delivers outcomes; no attempt."""

    async def scene(agent: Agent) -> None:
        agent.lacks = ("needs a GPU",)
        assert not (await agent.poll()).is_claimed

    agent = lived(Server({"nodeCPUs": 2}), scene)
    (entry,) = agent.given_back
    assert entry.requeue
    assert entry.terminal is not None
    assert str(entry.terminal["error"]).startswith("lost_claim: it cannot begin here: needs a GPU")
    assert entry.run_id in agent.journal.entries  # until it is delivered


def test_a_drain_gives_back_what_came_of_an_offer_without_an_answer() -> None:
    """It asks once, without a wait, and does not offer anew."""

    async def scene(agent: Agent) -> None:
        asking = asyncio.create_task(agent.poll())
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        await agent.offers.withdraw()
        await agent.offers.withdraw()

    server = Server({"startedAt": "2099-01-01T00:00:00.000Z"})
    agent = lived(server, scene)
    (entry,) = agent.given_back
    assert entry.requeue
    assert "prefer" not in agent.offered()[-1].headers


def test_a_drain_gives_back_what_came_and_was_not_begun() -> None:
    """Its poll was given up in the moment in which it was answered; nothing is asked."""

    async def scene(agent: Agent) -> None:
        assert (await agent.poll()).is_claimed
        await agent.offers.withdraw()

    agent = lived(Server({"nodeCPUs": 2}), scene)
    assert [entry.task_id for entry in agent.given_back] == ["t"]
    assert len(agent.offered()) == 1


def test_a_drain_waits_for_no_server_that_hangs() -> None:
    """What became of the offer, its lease tells."""

    async def scene(agent: Agent) -> None:
        with pytest.raises(ApiError):
            await agent.poll()
        agent.stub.delay_s = 60.0
        began = agent.clock.mono()
        await agent.offers.withdraw()
        assert agent.clock.mono() - began < 3.0

    assert lived(Server(LOST), scene).given_back == []


@pytest.mark.parametrize("status", [404, 405, 409, 403])
def test_offers_that_are_refused_rest_and_lists_are_asked_for(status: int) -> None:
    """A replica that knows none, a proxy that lets none pass; not at once again, and not for ever."""

    async def scene(agent: Agent) -> None:
        assert (await agent.poll()).tasks == []
        assert (await agent.poll()).tasks == []
        await asyncio.sleep(REST_S + 1.0)
        await agent.poll()

    agent = lived(Server(status), scene)
    assert [one.path for one in agent.stub.requests[1:]] == [
        "/api/offers", "/api/jobs/tasks", "/api/jobs/tasks", "/api/offers",
    ]  # fmt: skip


def test_offers_that_bring_no_answer_rest_after_the_second() -> None:
    """What breaks when it is held so would break for ever; what became of the open one is asked once."""

    async def scene(agent: Agent) -> None:
        for _ in range(2):
            with pytest.raises(ApiError):
                await agent.poll()
        await agent.poll()
        await agent.poll()

    agent = lived(Server(LOST, LOST, LOST), scene)
    *_, asked = agent.offered()
    assert len(agent.offered()) == 3
    assert "prefer" not in asked.headers


@pytest.mark.parametrize(
    ("headers", "options"),
    [
        ({"Millhand-Claims": "unique"}, {}),
        ({"Millhand-Offers": "1"}, {}),
        (OURS, {"is_on": False}),
        (OURS, {"is_simple": False}),
    ],
    ids=["no offers", "no leases", "off", "type with GPUs"],
)
def test_nothing_is_offered_but_to_a_server_that_said_so(
    headers: dict[str, str], options: dict[str, bool]
) -> None:
    """Nor where a setting forbids it, nor for types of which the agent must look at each task."""
    server = Server()
    server.headers = headers

    async def scene(agent: Agent) -> None:
        await agent.poll()

    assert lived(server, scene, **options).offered() == []


def test_nothing_is_offered_without_a_wait() -> None:
    """An agent that ends when idle, and pages after the first, ask for lists."""

    async def scene(agent: Agent) -> None:
        await agent.poll(0.0)

    assert lived(Server(), scene).offered() == []
