"""Whole agents while the server fails for ten minutes, from different moments of a run on."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine
from tests.simulation.server import Item, Reply, VirtualServer
from tests.simulation.world import World, until
from worker.api.wire import ErrorKind

OUTAGE_S = 600.0
TASKS = 8
REQUESTS_PER_S_MAX = 1.0  # of an agent with three slots that meets nothing but failures
HEARTBEAT_S = 15.0  # as the settings have it
BACK_S = 120.0  # after which all is as before: the longest wait, and the way


class FailingServer(VirtualServer):
    """Answers 5xx to everything for a while, from the first request of a kind on."""

    begins_at: str | None = None  # the kind of the request
    status = 503
    is_done = False  # that first request is done all the same
    refused: tuple[str, ...] = ()  # the kinds of the requests that failed
    _until_mono = float("-inf")

    def watch(self, begins_at: str, status: int, *, is_done: bool) -> None:
        """Begin to fail with the next request of this kind."""
        self.begins_at, self.status, self.is_done = begins_at, status, is_done

    @property
    def is_failing(self) -> bool:
        """Tell whether it fails now."""
        return self.clock.mono() < self._until_mono

    def handle(self, method: str, path: str, query: dict[str, str], body: Item) -> Reply:
        """Answer one request, or fail."""
        if self.begins_at == kind_of(method, path, body):
            self.begins_at, self._until_mono = None, self.clock.mono() + OUTAGE_S
            if self.is_done:
                super().handle(method, path, query, body)
        if self.is_failing:
            self.refused += (kind_of(method, path, body),)
            return self.status, {}
        return super().handle(method, path, query, body)


def kind_of(method: str, path: str, body: Item) -> str:
    """Name a request as the agent's parts do."""
    if method == "PUT":
        return "end" if "stoppedAt" in body else "report"
    return {"POST": "claim"}.get(method, "poll" if path.endswith("/tasks") else "look")


@pytest.mark.parametrize(("status", "is_done"), [(503, False), (500, True)], ids=["not done", "done"])
@pytest.mark.parametrize("begins_at", ["poll", "claim", "report", "end"])
def test_ten_minutes_of_failures_lose_nothing_and_meet_no_hammering(
    begins_at: str, status: int, is_done: bool
) -> None:
    """Poll, claim, report and end all come through afterwards; each task is executed once, and told."""

    async def main() -> tuple[World, FailingServer]:
        world, server = failing_world(TASKS)
        machine = Machine(world, "pod/a")
        agent = await machine.agent()
        life = asyncio.create_task(agent.run())
        await until(world.successes, 120.0)
        server.watch(begins_at, status, is_done=is_done)
        await outage(server)
        known = len(world.successes())
        await until(lambda: len(world.successes()) > known or known == TASKS, BACK_S)
        await until(lambda: len(world.successes()) == TASKS and not machine.entries, BACK_S * 2)
        agent.drain.request(ErrorKind.DRAINED, "the test is over")
        assert await life == 0
        return world, server

    world, server = run_virtual(main())
    assert sorted(world.executions) == sorted(server.tasks)
    assert sorted(world.successes()) == sorted(server.tasks)
    assert len(server.refused) < OUTAGE_S * REQUESTS_PER_S_MAX, Counter(server.refused)


def test_runs_that_go_on_through_ten_minutes_of_failures_report_once_in_a_heartbeat() -> None:
    """Not at their usual interval, which is far shorter; afterwards all of them end as they would have."""

    async def main() -> FailingServer:
        world, server = failing_world(3)
        world.is_deaf = True  # the executions last as long as the test wants
        machine = Machine(world, "pod/a")
        agent = await machine.agent()
        life = asyncio.create_task(agent.run())
        await until(lambda: len(world.executing) == 3, 120.0)
        server.watch("report", 503, is_done=False)
        await outage(server)
        assert len(world.executing) == 3
        world.is_deaf = False
        await until(lambda: len(world.successes()) == 3 and not machine.entries, BACK_S)
        agent.drain.request(ErrorKind.DRAINED, "the test is over")
        assert await life == 0
        return server

    told = Counter(run_virtual(main()).refused)
    heartbeats = OUTAGE_S / HEARTBEAT_S * 3
    assert heartbeats * 0.8 < told["report"] < heartbeats * 1.3, told


def failing_world(tasks: int) -> tuple[World, FailingServer]:
    """Return a world and its server, which is fine until it is watched."""
    world = World(3, "key", 0.0, tasks, server=FailingServer)
    assert isinstance(world.server, FailingServer)
    return world, world.server


async def outage(server: FailingServer) -> None:
    """Wait until the server fails, and until it does so no more."""
    await until(lambda: server.is_failing, 120.0)
    await until(lambda: not server.is_failing, OUTAGE_S + 1.0)
