"""Some agents and a burst or a trickle of tasks, in virtual time: how many claims are lost, what waits.

`python -m tests.simulation.races [--agents 16] [--seeds 5]`. Tasks last a fifth of a second, as in the curves
of the benchmark, whose agents are processes: here nothing depends on how busy the machine is.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from random import Random
from typing import Final

import httpx
import msgspec
from msgspec import Struct

from tests.simulation.fleet import FleetNetwork, Kind, end_agents, member
from tests.simulation.hunt import be_quiet
from tests.simulation.leases import LeasingServer
from tests.simulation.loop import run_virtual
from tests.simulation.network import Carried
from tests.simulation.server import VirtualServer
from tests.simulation.world import World, until

__all__ = ["BURST", "TRICKLE", "Race", "Setting", "raced"]

BURST: Final = 0.0  # seconds between two tasks
TRICKLE: Final = 0.5
RUN_MAX_S: Final = 0.4
IDLE_S: Final = 600.0  # so that the agents ask as they do when nothing has come for long
LIMIT_S: Final = 3600.0


class Race(Struct, frozen=True):
    """What some agents did with some tasks."""

    agents: int
    tasks: int
    lost_per_task: float  # claims; one that is sent again is the same
    lists_per_task: float
    pick_up_p50_s: float
    pick_up_p99_s: float
    took_s: float  # from the first task until the last one was claimed
    doubled: int


class RaceNetwork(FleetNetwork):
    """Counts lists, and may be slow."""

    def __init__(self, server: VirtualServer, random: Random, kind: Kind) -> None:
        """Begin without lists."""
        super().__init__(server, random, kind)
        self.lists = 0
        self.slow = 1.0  # times the usual

    async def _pass(self) -> None:
        await asyncio.sleep(self.slow * self.random.uniform(0.001, 0.02))

    async def carry(self, sender: str, request: httpx.Request) -> Carried:
        """Carry one request of a machine."""
        self.lists += request.method == "GET" and request.url.path.endswith("/tasks")
        return await super().carry(sender, request)


class Setting(Struct, frozen=True, kw_only=True):
    """What they meet."""

    kind: Kind
    agents: int
    tasks: int = 64
    every_s: float = BURST  # from one task to the next
    slow: float = 1.0  # how much slower the network is than usual
    idle_s: float = IDLE_S  # for which nothing has come before


def raced(setting: Setting, seed: int) -> Race:
    """Let agents wait, then bring tasks, all at once or one after the other."""
    return run_virtual(race(setting, seed))


async def race(setting: Setting, seed: int) -> Race:
    """Play it."""
    world = World(seed, "key", 0.0, 0, server=LeasingServer if setting.kind == "ours" else VirtualServer)
    network = RaceNetwork(world.server, world.random, setting.kind)
    network.slow, world.run_max_s = setting.slow, RUN_MAX_S
    fleet = [member(world, network, at) for at in range(setting.agents)]
    lives = [asyncio.create_task((await one.agent()).run()) for one in fleet]
    await asyncio.sleep(setting.idle_s)
    begun_s, lists = asyncio.get_running_loop().time(), network.lists
    for at in range(setting.tasks):
        network.add(f"task-{seed}-{at}")
        if setting.every_s:
            await asyncio.sleep(setting.every_s)
    await until(lambda: len(network.picked_up_s) == setting.tasks, LIMIT_S, every_s=0.01)
    took_s, lists = asyncio.get_running_loop().time() - begun_s, network.lists - lists
    await end_agents(lives, network, world)
    waits = sorted(network.picked_up_s)
    return Race(
        agents=setting.agents,
        tasks=setting.tasks,
        lost_per_task=round(network.lost / setting.tasks, 3),
        lists_per_task=round(lists / setting.tasks, 2),
        pick_up_p50_s=round(waits[len(waits) // 2], 3),
        pick_up_p99_s=round(waits[int(len(waits) * 0.99)], 3),
        took_s=round(took_s, 2),
        doubled=len(world.overlaps) + len(world.executions) - len(set(world.executions)),
    )


def main(arguments: Sequence[str]) -> int:
    """Race, and print; exit code 1 where a task ran twice."""
    parser = argparse.ArgumentParser(description="Let some agents race for tasks in virtual time.")
    parser.add_argument("--agents", type=int, default=16, help="how many (16)")
    parser.add_argument("--seeds", type=int, default=5, help="how many worlds (5)")
    parser.add_argument("--tasks", type=int, default=64, help="how many tasks in each (64)")
    options = parser.parse_args(arguments)
    be_quiet()
    doubled = 0
    for kind in ("plain", "ours"):
        for every_s in (BURST, TRICKLE):
            setting = Setting(kind=kind, agents=options.agents, tasks=options.tasks, every_s=every_s)
            for seed in range(options.seeds):
                found = raced(setting, seed)
                doubled += found.doubled
                text = msgspec.json.encode(found).decode()
                sys.stdout.write(f"{kind}, a task each {every_s:g} s, seed {seed}: {text}\n")
                sys.stdout.flush()
    return 1 if doubled else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
