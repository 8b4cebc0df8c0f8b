"""Random histories of agents in virtual time: killed, drained, cut off, and in the end all is done.

Every history is fixed by its seed and its mix.
"""

from __future__ import annotations

import asyncio
from random import Random

from msgspec import Struct

from tests.virtual import run_virtual
from tests.virtual_agents import LAG_S, Machine, World, work_off
from tests.virtual_leases import LeasingServer
from tests.virtual_server import PUNCTUAL, Ids, VirtualServer
from worker.api.wire import ErrorKind

__all__ = ["MIXES", "Mix", "problems_of"]

TASKS = 6
OUTAGES_S = (30.0, 300.0, 3600.0)


class Mix(Struct, frozen=True, kw_only=True):
    """What may happen in a history."""

    ids: Ids = "key"
    fault_ratio: float = 0.0  # share of requests to which something happens
    is_punctual: bool = False  # no request arrives later than its sender waits
    lags: bool = False  # lists show the state of a second ago
    ends: tuple[str, ...] = ()  # how lives may end before the last one: "kill", "drain", "hurry"
    lives: int = 3  # of each machine
    is_cut_off: bool = False  # the server is away once, up to an hour
    is_leased: bool = False  # the server gives the tasks of silent runs away
    files: int = 0  # of each run; their store comes and goes, and answers of it get lost


ALL_ENDS = ("kill", "kill", "drain", "hurry")
MIXES = {
    "kills and faults": Mix(fault_ratio=0.1, ends=("kill",)),
    "drains and faults": Mix(fault_ratio=0.1, ends=("drain", "hurry")),
    "kills, drains and faults, lists lag": Mix(fault_ratio=0.1, lags=True, ends=ALL_ENDS),
    "kills, drains and faults, server away": Mix(fault_ratio=0.05, ends=ALL_ENDS, is_cut_off=True),
    "server away while runs end": Mix(ends=ALL_ENDS, lives=0, is_cut_off=True),
    "leases, kills and faults": Mix(fault_ratio=0.1, ends=("kill",), is_leased=True),
    "leases, kills, drains and faults, server away": Mix(
        fault_ratio=0.05, ends=ALL_ENDS, is_cut_off=True, is_leased=True
    ),
    "leases, server away while runs end": Mix(ends=ALL_ENDS, lives=0, is_cut_off=True, is_leased=True),
    "ids ignored, kills": Mix(ids="ignore", lags=True, ends=("kill",)),
    "ids ignored, all": Mix(ids="ignore", lags=True, fault_ratio=0.05, is_punctual=True, ends=ALL_ENDS),
    "files, kills, drains and faults": Mix(fault_ratio=0.05, ends=ALL_ENDS, files=2),
    "files, server away": Mix(ends=ALL_ENDS, files=2, is_cut_off=True),
    "files, ids ignored, all": Mix(
        ids="ignore", lags=True, fault_ratio=0.05, is_punctual=True, ends=ALL_ENDS, files=2
    ),
    "overwritten, drains": Mix(ids="overwrite", lags=True, ends=("drain", "hurry")),
    "overwritten, all": Mix(ids="overwrite", lags=True, fault_ratio=0.05, is_punctual=True, ends=ALL_ENDS),
}


def problems_of(mix: Mix, seed: int) -> list[str]:
    """Live through a history; returns what should not be, in words."""
    return run_virtual(history(mix, seed))


async def history(mix: Mix, seed: int) -> list[str]:
    """Let two machines have some lives each, then work off what is left in peace."""
    server = LeasingServer if mix.is_leased else VirtualServer
    lag_s = LAG_S if mix.lags else 0.0
    world = World(seed, mix.ids, mix.fault_ratio, TASKS, lag_s=lag_s, server=server)
    random = Random(seed)
    if mix.is_punctual:
        world.network.faults = PUNCTUAL
    world.files = mix.files
    world.store.lost_ratio = 0.1
    machines = [Machine(world, f"pod/{at}") for at in range(2)]
    async with asyncio.TaskGroup() as group:
        for machine in machines:
            group.create_task(some_lives(machine, mix, random))
        if mix.is_cut_off:
            group.create_task(cut_off(world, random))
        if mix.files:
            group.create_task(come_and_go(world, random))
    await work_off(world, machines)
    return verdict(world, mix)


async def some_lives(machine: Machine, mix: Mix, random: Random) -> None:
    """Begin and end a machine's agent a few times."""
    for _ in range(mix.lives):
        agent = await machine.agent()
        life = asyncio.create_task(agent.run())
        await asyncio.sleep(random.uniform(0.05, 25.0))
        end = random.choice(mix.ends)
        if end == "kill":
            machine.life.is_over.set()
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
        else:
            agent.drain.request(ErrorKind.DRAINED, "SIGTERM")
            if end == "hurry":
                await asyncio.sleep(random.uniform(0.0, 5.0))
                agent.drain.request(ErrorKind.DRAINED, "SIGTERM")
            assert await life == 0
            machine.life.is_over.set()
        await asyncio.sleep(random.choice([0.0, 0.01, random.uniform(0.0, 10.0)]))


async def cut_off(world: World, random: Random) -> None:
    """Let the server be away for a while."""
    await asyncio.sleep(random.uniform(0.0, 40.0))
    world.network.is_down = True
    await asyncio.sleep(random.choice(OUTAGES_S))
    world.network.is_down = False


async def come_and_go(world: World, random: Random) -> None:
    """Let the store be away now and then."""
    for _ in range(4):
        await asyncio.sleep(random.uniform(0.0, 20.0))
        world.store.is_away = not world.store.is_away


def verdict(world: World, mix: Mix) -> list[str]:
    """Tell what of the promises was broken."""
    found = [f"{task} ran twice at once" for task in world.overlaps]
    found += [f"the result of {task} is lost" for task in set(world.finished) - set(world.successes())]
    runs = world.server.runs.values()
    found += [f"run {run['id']} stays live" for run in runs if run["startedAt"] and not run["stoppedAt"]]
    told = {file["url"] for run in runs for file in (run.get("results") or {}).get("files", [])}
    found += [f"{url} is told and not stored" for url in told - world.store.files.keys()]
    found += [f"{url} is stored and not told" for url in world.store.files.keys() - told]
    if mix.ids == "key" and sorted(world.successes()) != sorted(world.server.tasks):
        found.append(f"not one success each: {sorted(world.successes())}")
    return found
