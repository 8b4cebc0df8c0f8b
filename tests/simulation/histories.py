"""Random histories of agents in virtual time: killed, drained, cut off, and in the end all is done.

Every history is fixed by its seed and its mix.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random
from typing import Final

from msgspec import Struct

from tests.simulation.disturbances import JUMPS_S, disturbances
from tests.simulation.leases import LeasingServer
from tests.simulation.loop import VirtualClock, run_virtual
from tests.simulation.machine import Machine, work_off
from tests.simulation.mixes import Mix
from tests.simulation.offers import OfferingServer
from tests.simulation.server import VirtualServer
from tests.simulation.world import LAG_S, World
from worker.api.wire import ErrorKind

__all__ = ["Told", "history", "problems_of"]

LIMIT_S: Final = 1800.0  # until all must be done
DRIFT: Final = 0.02  # of a machine's clock against the server's; what a lease's margin has room for
FAIL_RATIO: Final = 0.4  # of executions, where tasks are tried again
BATCH_MOST: Final = 3  # writes that a server takes at once, of every other seed's; more go in two requests
OLD_RATIO: Final = 0.2  # of requests that another replica answers, which takes no writes together
HASTE_S: Final = 10.0  # in which no machine asks more often than HASTE times
HASTE: Final = 300
SAID: Final = ("nodeCPUs", "machine")  # of the machine, with the claim and with a report


class Told(Struct, frozen=True):
    """What came of a history."""

    problems: list[str]  # what should not be, in words
    digest: str
    requests: int
    batches: int  # of them those that carried several writes
    virtual_s: float


def problems_of(mix: Mix, seed: int) -> list[str]:
    """Live through a history; returns what should not be, in words."""
    return history(mix, seed).problems


def history(mix: Mix, seed: int) -> Told:
    """Live through a history: the same for the same mix and seed."""
    return run_virtual(live(mix, seed))


async def live(mix: Mix, seed: int) -> Told:
    """Let two machines have some lives each, then work off what is left; what disturbs them may go on."""
    world = world_of(mix, seed)
    random = Random(seed)
    machines = [
        Machine(world, f"pod/{at}", clock=clock_of(mix, random), poll_max_s=mix.poll_max_s) for at in range(2)
    ]
    haste = asyncio.create_task(watch_haste(world))
    try:
        async with asyncio.TaskGroup() as group:
            for disturbance in disturbances(world, machines, mix, random):
                group.create_task(disturbance)
            await asyncio.gather(*(some_lives(machine, mix, random) for machine in machines))
            await work_off(world, machines)
    except ExceptionGroup as failures:
        for failure in failures.exceptions:
            world.watch.found.append(f"{failure!r}: {pending(world, machines)}")
    finally:
        haste.cancel()
    return Told(
        problems=verdict(world, mix, machines),
        digest=world.watch.digest,
        requests=world.network.sent.total(),
        batches=world.network.batches,
        virtual_s=asyncio.get_running_loop().time(),
    )


def world_of(mix: Mix, seed: int) -> World:
    """Return the world before anything happens."""
    server: type[VirtualServer] = LeasingServer if mix.is_leased else VirtualServer
    if mix.is_leased and (mix.has_offers or seed % 2 == 0):
        server = OfferingServer
    world = World(
        seed,
        mix.ids,
        mix.fault_ratio,
        mix.tasks - mix.comes_later,
        parameters={"retry": mix.retry} if mix.retry else None,
        lag_s=LAG_S if mix.lags else 0.0,
        server=server,
    )
    world.fail_ratio = FAIL_RATIO if mix.retry else 0.0
    world.server.tells_date = mix.tells_date
    world.server.batch_most = BATCH_MOST if seed % 2 or mix.has_batches else 0
    world.server.accepts_stopped = seed % 3 == 1 and not mix.is_leased
    world.network.empties_brief = seed % 5 == 0
    world.network.old_ratio = OLD_RATIO if mix.has_batches and seed % 3 == 0 else 0.0
    world.limit_s = LIMIT_S
    world.later = [f"late-{at}" for at in range(mix.comes_later)]
    world.network.faults = mix.faults
    if world.server.accepts_stopped:  # a report that comes again after it was answered is the last word there
        world.network.faults = tuple(fault for fault in mix.faults if fault != "twice")
    world.files = mix.files
    world.run_max_s, world.short_ratio = mix.run_max_s, mix.short_ratio
    world.store.lost_ratio = 0.1
    return world


def clock_of(mix: Mix, random: Random) -> VirtualClock:
    """Return the clock of a machine."""
    if not mix.has_odd_clocks:
        return VirtualClock()
    return VirtualClock(
        ahead_s=random.choice(JUMPS_S),
        booted_s=random.uniform(0.0, 1e6),
        rate=1.0 + random.uniform(-DRIFT, DRIFT),
    )


# what happens


async def some_lives(machine: Machine, mix: Mix, random: Random) -> None:
    """Begin and end a machine's agent a few times."""
    for _ in range(mix.lives):
        agent = await machine.agent()
        life = asyncio.create_task(agent.run())
        await asyncio.sleep(random.uniform(0.05, 25.0))
        end = random.choice(mix.ends)
        if end in ("kill", "power"):
            machine.life.is_over.set()
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            if end == "power":
                machine.disk.lose_power()
        else:
            agent.drain.request(ErrorKind.DRAINED, "SIGTERM")
            if end == "hurry":
                await asyncio.sleep(random.uniform(0.0, 5.0))
                agent.drain.request(ErrorKind.DRAINED, "SIGTERM")
            assert await life == 0
            machine.life.is_over.set()
        await asyncio.sleep(random.choice([0.0, 0.01, random.uniform(0.0, 10.0)]))


async def watch_haste(world: World) -> None:
    """See that nobody hammers."""
    before = world.network.sent.copy()
    while True:
        await asyncio.sleep(HASTE_S)
        for machine, count in world.network.sent.items():
            if count - before[machine] > HASTE:
                world.watch.found.append(f"{machine} made {count - before[machine]} requests in {HASTE_S} s")
                return
        before = world.network.sent.copy()


# what came of it


def verdict(world: World, mix: Mix, machines: Iterable[Machine]) -> list[str]:
    """Tell what of the promises was broken."""
    for machine in machines:
        world.watch.at_end(machine.name, machine.entries)
    found = [f"{task} ran twice at once" for task in world.overlaps]
    found += [
        f"{most} runs at once on {machine.name}, which has {machine.config.concurrency} slots"
        for machine in machines
        if (most := world.most_on_stage[machine.name]) > machine.config.concurrency
    ]
    found += world.watch.found
    found += [f"the result of {task} is lost" for task in set(world.finished) - set(world.successes())]
    runs = world.server.runs.values()
    found += [f"run {run['id']} stays live" for run in runs if run["startedAt"] and not run["stoppedAt"]]
    told = {file["url"] for run in runs for file in (run.get("results") or {}).get("files", [])}
    found += [f"{url} is told and not stored" for url in told - world.store.files.keys()]
    found += [f"{url} is stored and not told" for url in world.store.files.keys() - told]
    if world.server.accepts_stopped:  # nothing that was on its way longer may be the last word
        ended = [run for run in runs if run.get("resultCode") == "Success"]
        found += [f"results of {run['id']} were replaced" for run in ended if "task" not in run["results"]]
    if mix.ids == "key":
        ended = [run for run in runs if run.get("resultCode") == "Success"]
        found += [f"nobody told on what {run['id']} ran" for run in ended if not {*SAID} <= run.keys()]
    if mix.ids == "key" and not mix.is_cancelled and sorted(world.successes()) != sorted(world.server.tasks):
        found.append(f"not one success each: {sorted(world.successes())}")
    return found


def pending(world: World, machines: Iterable[Machine]) -> str:
    """Say what is not done."""
    tasks = [task for task in world.server.tasks if world.status(task) != "Success"]
    entries = [f"{m.name}: {e.run_id} {e.marks}" for m in machines for e in m.entries.values()]
    return f"{tasks} have no success; journals: {entries}"
