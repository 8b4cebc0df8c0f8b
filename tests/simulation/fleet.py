"""Thousands of agents and one server, in virtual time: how often they ask, how they race, how they come back.

`python -m tests.simulation.fleet [--agents 10000] [--server ours|plain] [--json]`. Our server's own line of
waiting polls is at work (`server.pending`); the plain one is of the documented API alone.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any, Final, Literal

import httpx
import msgspec
from msgspec import Struct

from server.pending.desk import Desk
from server.store.changes import TasksPending, TaskTaken
from server.store.queries import Page, TaskQuery
from tests.simulation.hunt import be_quiet
from tests.simulation.leases import LeasingServer
from tests.simulation.loop import VirtualClock, run_virtual
from tests.simulation.machine import Machine
from tests.simulation.network import Carried, FaultyNetwork
from tests.simulation.server import VirtualServer
from tests.simulation.world import World, until

__all__ = ["Figures", "FleetNetwork", "Kind", "measured", "member"]

Kind = Literal["ours", "plain"]
ORG: Final = "org"
SETTLED_S: Final = 180.0  # after a start, until agents ask as they always do
WINDOW_S: Final = 300.0  # for which idle agents are watched
OUTAGE_S: Final = 300.0
BACK_S: Final = 120.0  # for which the return is watched
BIN_S: Final = 5.0  # of the rates of requests
TASKS_A_SECOND: Final = 20.0
RUN_MAX_S: Final = 60.0


class Figures(Struct, frozen=True):
    """What a fleet of one size costs its server."""

    server: str
    agents: int
    requests_per_idle_agent_minute: float
    steady_per_s: float
    start_peak_ratio: float  # all agents start in one moment; the busiest BIN_S after the first, to steady
    outage_per_s: float  # tries while the server is away
    return_peak_ratio: float  # the busiest BIN_S after an outage of five minutes, to steady
    tasks: int
    wasted_claims_per_task: float
    pick_up_p50_s: float
    pick_up_p99_s: float
    doubled: int
    wall_s: float


class Listed(Struct, frozen=True):
    """A task, as the desk sees it."""

    id: str
    org_id: str
    type: str


class ListedAnswer(Struct, frozen=True):
    """A task in a list, as the desk sees it."""

    task: Listed


class Shelf:
    """What the desk asks for: pending tasks, in order."""

    def __init__(self) -> None:
        """Begin without tasks."""
        self.pending: dict[str, Listed] = {}

    async def tasks(self, query: TaskQuery) -> list[ListedAnswer]:
        """Return a page of those that are not hidden."""
        found = (task for task in self.pending.values() if task.id not in query.hidden)
        return [ListedAnswer(task) for task, _ in zip(found, range(query.page.size), strict=False)]

    def pass_on(self, pending: TasksPending) -> None:
        """There are no other servers."""


class FleetNetwork(FaultyNetwork):
    """A network without faults; polls are held by our server's desk, or answered at once."""

    def __init__(self, server: VirtualServer, random: Random, kind: Kind) -> None:
        """Count all that is asked, by time."""
        super().__init__(server, random)
        self.kind = kind
        self.shelf = Shelf()
        self.desk = Desk(self.shelf)  # type: ignore[arg-type]  # all that it asks of a store
        self.bins = Counter[int]()  # requests, by BIN_S
        self.claimed = set[tuple[str, str]]()  # by whom what; a first claim is sent twice, as a probe
        self.came_at: dict[str, float] = {}
        self.picked_up_s: list[float] = []

    def add(self, id_: str) -> None:
        """Have one more task pending."""
        self.server.add_task(id_)  # type: ignore[attr-defined]
        self.shelf.pending[id_] = Listed(id_, ORG, "noop")
        self.came_at[id_] = asyncio.get_running_loop().time()
        self.desk.on_changes([TasksPending(ORG, "noop")])

    async def carry(self, sender: str, request: httpx.Request) -> Carried:
        """Carry one request of a machine."""
        now_s = asyncio.get_running_loop().time()
        self.bins[int(now_s // BIN_S)] += 1
        if self.is_down:
            await asyncio.sleep(0.001)
            raise httpx.ConnectError("refused")
        if request.method == "GET" and request.url.path.endswith("/tasks"):
            return await self._list(sender, request)
        reply = await super().carry(sender, request)
        if request.method == "POST":
            self._claimed(sender, msgspec.json.decode(request.content)["taskId"], reply.status_code)
        return reply

    async def _list(self, sender: str, request: httpx.Request) -> Carried:
        await self._pass()
        size = int(request.url.params["perPage"])
        query = TaskQuery(org_id=ORG, types=("noop",), page=Page(size=size))
        prefer, headers = request.headers.get("prefer"), dict[str, str]()
        if self.kind == "plain":
            found = await self.shelf.tasks(query)
        elif prefer is None:
            found = await self.desk.look(query, sender)  # type: ignore[assignment]
        else:
            found = await self.desk.wait(query, sender, float(prefer.removeprefix("wait=")))  # type: ignore[assignment]
            headers = {"Preference-Applied": prefer}
        if self.is_down:
            raise httpx.RemoteProtocolError("cut")
        await self._pass()
        tasks = [self.server.tasks[one.task.id] for one in found]  # type: ignore[attr-defined]
        return httpx.Response(
            200, content=msgspec.json.encode({"tasks": tasks}), headers=headers | self.server.headers(None)
        )

    @property
    def lost(self) -> int:
        """How many claims others were ahead of."""
        return len(self.claimed) - len(self.picked_up_s)

    def _claimed(self, sender: str, task_id: str, status: int) -> None:
        self.claimed.add((sender, task_id))
        if status == 200 and self.shelf.pending.pop(task_id, None) is not None:
            self.picked_up_s.append(asyncio.get_running_loop().time() - self.came_at[task_id])
            self.desk.on_changes([TaskTaken(ORG, task_id)])

    def rate(self, from_s: float, until_s: float) -> float:
        """Return the requests in a second, of a time."""
        return self._count(from_s, until_s) / (until_s - from_s)

    def peak(self, from_s: float, until_s: float) -> float:
        """Return the requests in a second of the busiest BIN_S."""
        return max(self.bins[at] for at in range(int(from_s // BIN_S), int(until_s // BIN_S))) / BIN_S

    def _count(self, from_s: float, until_s: float) -> int:
        return sum(self.bins[at] for at in range(int(from_s // BIN_S), int(until_s // BIN_S)))


def measured(kind: Kind, agents: int, tasks: int) -> Figures:
    """Let a fleet start, wait, lose its server and get it back, and work."""
    return run_virtual(scenario(kind, agents, tasks))


async def scenario(kind: Kind, agents: int, tasks: int) -> Figures:
    """Play it; every time is a multiple of BIN_S."""
    began_s = time.monotonic()
    world = World(1, "key", 0.0, 0, server=LeasingServer if kind == "ours" else VirtualServer)
    network = FleetNetwork(world.server, world.random, kind)
    world.run_max_s = RUN_MAX_S
    fleet = [member(world, network, at) for at in range(agents)]
    lives = [asyncio.create_task((await one.agent()).run()) for one in fleet]

    await asyncio.sleep(SETTLED_S + WINDOW_S)
    steady = network.rate(SETTLED_S, SETTLED_S + WINDOW_S)
    start_peak = network.peak(BIN_S, SETTLED_S)

    network.is_down = True
    network.desk.close()  # a server that dies cuts whoever waits
    away_s = SETTLED_S + WINDOW_S
    await asyncio.sleep(OUTAGE_S)
    back_s = away_s + OUTAGE_S
    network.is_down, network.desk = False, Desk(network.shelf)  # type: ignore[arg-type]
    await asyncio.sleep(BACK_S)

    for at in range(tasks):
        network.add(f"task-{at}")
        await asyncio.sleep(1.0 / TASKS_A_SECOND)
    await until(lambda: len(network.picked_up_s) == tasks, 600.0)
    await end_agents(lives, network, world)
    waits = sorted(network.picked_up_s)
    return Figures(
        server=kind,
        agents=agents,
        requests_per_idle_agent_minute=round(steady * 60 / agents, 2),
        steady_per_s=round(steady, 1),
        start_peak_ratio=round(start_peak / steady, 2),
        outage_per_s=round(network.rate(away_s + OUTAGE_S / 2, back_s), 1),
        return_peak_ratio=round(network.peak(back_s, back_s + BACK_S) / steady, 2),
        tasks=tasks,
        wasted_claims_per_task=round(network.lost / tasks, 3),
        pick_up_p50_s=round(waits[len(waits) // 2], 3),
        pick_up_p99_s=round(waits[int(len(waits) * 0.99)], 3),
        doubled=len(world.overlaps) + len(world.executions) - len(set(world.executions)),
        wall_s=round(time.monotonic() - began_s, 1),
    )


async def end_agents(lives: list[asyncio.Task[Any]], network: FleetNetwork, world: World) -> None:
    """Let the last runs end, and then all agents."""
    await asyncio.sleep(world.run_max_s + 5.0)
    for life in lives:
        life.cancel()
    await asyncio.gather(*lives, return_exceptions=True)
    network.desk.close()


def member(world: World, network: FleetNetwork, at: int) -> Machine:
    """Return one machine, with the settings that an agent has by default, and one slot."""
    usual: dict[str, Any] = {"concurrency": 1, "poll_interval_s": 5.0, "poll_max_s": 60.0}
    machine = Machine(world, f"pod/{at}", clock=VirtualClock(booted_s=float(at)), **usual)
    machine.network = network
    return machine


def main(arguments: Sequence[str]) -> int:
    """Measure, and print; exit code 1 where a task ran twice or the return is a stampede."""
    parser = argparse.ArgumentParser(description="Let a fleet of agents live in virtual time.")
    parser.add_argument("--agents", type=int, default=10_000, help="how many (10000)")
    parser.add_argument("--tasks", type=int, default=2_000, help="how many tasks they get at the end (2000)")
    parser.add_argument("--server", choices=("ours", "plain"), action="append", help="which one (both)")
    options = parser.parse_args(arguments)
    be_quiet()
    found = []
    for kind in options.server or ("ours", "plain"):
        found.append(measured(kind, options.agents, options.tasks))
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found[-1])).decode() + "\n")
        sys.stdout.flush()
    return 1 if any(one.doubled or one.return_peak_ratio >= 2.0 for one in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
