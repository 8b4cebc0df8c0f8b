"""An agent that offers runs, and a server that takes them as it is told; in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

import httpx

from tests.simulation.loop import VirtualClock, run_virtual
from tests.unit.agent.stub_api import Answer, Request, StubApi, error
from tests.unit.reporting.memory import MemoryIO
from worker.agent.identity import Identities
from worker.agent.offers import Offers
from worker.agent.wire_run import RunWire
from worker.api.ids import claim_run_id
from worker.api.models import Task
from worker.api.polls import Poll
from worker.api.retry import Retrier
from worker.reporting.journal import Journal
from worker.reporting.records import Entry

__all__ = ["HOLD_AS_TIME", "HOLD_S", "LOST", "OURS", "RATE", "Agent", "Server", "lived", "won"]


OURS = {"Millhand-Claims": "unique", "Millhand-Offers": "1", "Millhand-Batch": "32"}


LOST = httpx.ReadTimeout("lost")


HOLD_S = 30.0


HOLD_AS_TIME = timedelta(seconds=HOLD_S)


RATE = 0.9


class Server:
    """Answers offers in turn: by a run, by nothing, or by what it is told; lists are empty."""

    def __init__(self, *answers: object) -> None:
        """Know the answers; from the last one on nothing comes."""
        self.answers = list(answers)
        self.headers = dict(OURS)

    def __call__(self, request: Request) -> Answer:
        """Answer."""
        if request.path != "/api/offers":
            return 200, {"tasks": []}, self.headers
        told = self.answers.pop(0) if self.answers else None
        if isinstance(told, Exception):
            return told
        if isinstance(told, int):
            return told, error("not_found"), self.headers
        return 200, won(request, told) if told else {"tasks": []}, {**OURS, "Millhand-Lease": "90"}


def won(request: Request, changes: Any) -> dict[str, Any]:
    """Return the answer that brings task "t", claimed by the run that was offered, but for some fields."""
    run = {"id": claim_run_id("t"), "taskId": "t", "podId": "pod/a", "startedAt": request.body["startedAt"]}
    return {"tasks": [{"id": "t", "type": "noop", "jobId": "j"}], "run": {**run, **changes}}


class Agent:
    """The parts of an agent that make offers."""

    def __init__(self, server: Server) -> None:
        """Offer to a server; `open` first."""
        self.stub = StubApi(server)
        self.clock = VirtualClock()
        self.lacks: tuple[str, ...] = ()
        self.given_back: list[Entry] = []
        self.others: list[str] = []  # tasks that were left to be claimed otherwise

    async def claim(self, task: Task) -> None:
        """Be what claims otherwise."""
        self.others.append(task.id)

    async def open(self, *, is_on: bool = True, is_simple: bool = True) -> Offers:
        """Return what makes the offers."""
        self.io = MemoryIO()
        self.journal = await Journal.open(self.io, self.clock)
        api = self.stub.api
        runs = RunWire(api, Retrier(Random(1), self.clock), self.clock, Random(1), dict)
        ids = iter(f"offer-{at}" for at in range(99))
        self.offers = Offers(
            self,
            api,
            runs,
            self.journal,
            Identities("pod/a", self.clock),
            clock=self.clock,
            new_id=lambda: next(ids),
            is_simple=lambda _: is_simple,
            unmet=lambda _: self.lacks,
            deliver=self.given_back.append,
            is_on=is_on,
        )
        await self.poll(0.0)  # by which it is known that offers are taken
        return self.offers

    async def poll(self, wait_s: float = HOLD_S) -> Poll:
        """Ask once."""
        return await self.offers.poll(types=["noop"], page=1, per_page=2, wait_s=wait_s)

    def offered(self) -> list[Request]:
        """Return the offers that were sent."""
        return self.stub.asked("POST", "/api/offers")


def lived(server: Server, scene: Callable[[Agent], Any], **options: Any) -> Agent:
    """Live through a scene."""
    agent = Agent(server)

    async def main() -> None:
        await agent.open(**options)
        await scene(agent)

    run_virtual(main())
    return agent
