"""Random histories of agents in virtual time: killed, drained, cut off, and in the end all is done.

Every history is fixed by its seed and its mix.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from random import Random
from typing import Any, Final

from msgspec import Struct

from tests.simulation.leases import LeasingServer
from tests.simulation.loop import VirtualClock, run_virtual
from tests.simulation.machine import Machine, work_off
from tests.simulation.network import FAULTS, LATE_S, PUNCTUAL, Link
from tests.simulation.server import Ids, VirtualServer
from tests.simulation.world import LAG_S, World
from worker.api.wire import ErrorKind

__all__ = ["MIXES", "Mix", "Told", "history", "problems_of"]

TASKS: Final = 4
OUTAGES_S: Final = (30.0, 120.0, 900.0)
LIMIT_S: Final = 1800.0  # until all must be done
DRIFT: Final = 0.02  # of a machine's clock against the server's; what a lease's margin has room for
JUMPS_S: Final = (-31_536_000.0, -3600.0, -0.5, 0.5, 3600.0, 31_536_000.0)
SEEN_S: Final = 120.0  # after which every agent has seen that its job is cancelled
HASTE_S: Final = 10.0  # in which no machine asks more often than HASTE times
HASTE: Final = 300


class Mix(Struct, frozen=True, kw_only=True):
    """What may happen in a history."""

    ids: Ids = "key"
    fault_ratio: float = 0.0  # share of requests to which something happens
    faults: tuple[str, ...] = FAULTS
    lags: bool = False  # lists show the state of a second ago
    ends: tuple[str, ...] = ()  # how lives may end before the last one: kill, drain, hurry, power
    lives: int = 3  # of each machine
    is_cut_off: bool = False  # the server is away once, up to an hour
    is_parted: bool = False  # single machines are cut off now and then, in both directions or in one
    freezes: bool = False  # agents stand still now and then; their minders do not
    has_odd_clocks: bool = False  # machines' clocks are wrong, drift, and jump
    is_leased: bool = False  # the server gives the tasks of silent runs away
    files: int = 0  # of each run; their store comes and goes, and answers of it get lost
    is_cancelled: bool = False  # the job is cancelled in the middle
    poll_max_s: float = 20.0  # between two polls; less where it matters how soon a task is taken
    run_max_s: float = 30.0  # how long an execution takes at most; leases are of 60 s


ALL_ENDS: Final = ("kill", "kill", "drain", "hurry")
MIXES: Final = {
    "kills": Mix(ends=("kill",)),
    "answers come late": Mix(fault_ratio=0.2, faults=("answer late",), ends=ALL_ENDS),
    "kills and faults": Mix(fault_ratio=0.1, ends=("kill",)),
    "drains and faults": Mix(fault_ratio=0.1, ends=("drain", "hurry")),
    "kills, drains and faults, lists lag": Mix(fault_ratio=0.1, lags=True, ends=ALL_ENDS),
    "kills, drains and faults, server away": Mix(fault_ratio=0.05, ends=ALL_ENDS, is_cut_off=True),
    "server away while runs end": Mix(ends=ALL_ENDS, lives=0, is_cut_off=True),
    "everything": Mix(
        fault_ratio=0.05, ends=ALL_ENDS, is_cut_off=True, is_parted=True, freezes=True, has_odd_clocks=True
    ),
    "job cancelled": Mix(fault_ratio=0.05, ends=ALL_ENDS, lives=1, is_cancelled=True, run_max_s=300.0),
    "job cancelled, kills": Mix(fault_ratio=0.05, ends=("kill",), is_cancelled=True, run_max_s=300.0),
    "leases, kills and faults": Mix(fault_ratio=0.1, ends=("kill",), is_leased=True),
    "leases, kills, drains and faults, server away": Mix(
        fault_ratio=0.05, ends=ALL_ENDS, is_cut_off=True, is_leased=True
    ),
    "leases, server away while runs end": Mix(
        ends=ALL_ENDS, lives=0, is_cut_off=True, is_leased=True, run_max_s=100.0
    ),
    "leases, machines parted": Mix(
        fault_ratio=0.1,
        lives=0,
        is_leased=True,
        is_parted=True,
        freezes=True,
        has_odd_clocks=True,
        run_max_s=200.0,
    ),
    "leases, answers come late": Mix(
        fault_ratio=0.2,
        faults=("answer late",),
        lives=0,
        is_leased=True,
        is_parted=True,
        poll_max_s=2.0,
        run_max_s=200.0,
    ),
    "leases, everything": Mix(
        fault_ratio=0.05,
        ends=(*ALL_ENDS, "power"),
        run_max_s=100.0,
        is_leased=True,
        is_cut_off=True,
        is_parted=True,
        freezes=True,
        has_odd_clocks=True,
    ),
    "ids ignored, kills": Mix(ids="ignore", lags=True, ends=("kill",)),
    "ids ignored, answers lost": Mix(
        ids="ignore", lags=True, fault_ratio=0.2, faults=("answer lost",), ends=("kill",)
    ),
    "ids ignored, all": Mix(ids="ignore", lags=True, fault_ratio=0.05, faults=PUNCTUAL, ends=ALL_ENDS),
    "files, kills, drains and faults": Mix(fault_ratio=0.05, ends=ALL_ENDS, files=2),
    "files, server away": Mix(ends=ALL_ENDS, files=2, is_cut_off=True),
    "files, ids ignored, all": Mix(
        ids="ignore", lags=True, fault_ratio=0.05, faults=PUNCTUAL, ends=ALL_ENDS, files=2
    ),
    "overwritten, drains": Mix(ids="overwrite", lags=True, ends=("drain", "hurry")),
    "overwritten, all": Mix(ids="overwrite", lags=True, fault_ratio=0.05, faults=PUNCTUAL, ends=ALL_ENDS),
}


class Told(Struct, frozen=True):
    """What came of a history."""

    problems: list[str]  # what should not be, in words
    digest: str
    requests: int
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
        virtual_s=asyncio.get_running_loop().time(),
    )


def disturbances(
    world: World, machines: Sequence[Machine], mix: Mix, random: Random
) -> Iterator[Coroutine[Any, Any, None]]:
    """Give what happens beside the lives of agents."""
    for machine in machines:
        if mix.is_parted:
            yield part(machine, random)
        if mix.freezes:
            yield freeze(machine, random)
        if mix.has_odd_clocks:
            yield jump(machine, random)
    if mix.is_cut_off:
        yield cut_off(world, random)
    if mix.files:
        yield come_and_go(world, random)
    if mix.is_cancelled:
        yield cancel_job(world, random)


def world_of(mix: Mix, seed: int) -> World:
    """Return the world before anything happens."""
    server = LeasingServer if mix.is_leased else VirtualServer
    world = World(seed, mix.ids, mix.fault_ratio, TASKS, lag_s=LAG_S if mix.lags else 0.0, server=server)
    world.limit_s = LIMIT_S
    world.network.faults = mix.faults
    world.files = mix.files
    world.run_max_s = mix.run_max_s
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


async def cut_off(world: World, random: Random) -> None:
    """Let the server be away for a while."""
    await asyncio.sleep(random.uniform(0.0, 40.0))
    world.network.is_down = True
    await asyncio.sleep(random.choice(OUTAGES_S))
    world.network.is_down = False


async def part(machine: Machine, random: Random) -> None:
    """Let one machine not reach the server now and then, or not hear it."""
    links = machine.world.network.links
    for _ in range(3):
        await asyncio.sleep(random.uniform(0.0, 30.0))
        links[machine.name] = random.choice((Link.CUT, Link.MUTE))
        await asyncio.sleep(random.choice((1.0, 10.0, 50.0, 70.0, 200.0)))
        links[machine.name] = Link.GOOD


async def freeze(machine: Machine, random: Random) -> None:
    """Let the agent stand still now and then."""
    for _ in range(3):
        await asyncio.sleep(random.uniform(0.0, 30.0))
        life = machine.life
        life.freeze()
        await asyncio.sleep(random.choice((1.0, 10.0, 58.0, 120.0)))
        life.thaw()


async def jump(machine: Machine, random: Random) -> None:
    """Let the time of day of a machine jump."""
    for _ in range(4):
        await asyncio.sleep(random.uniform(0.0, 30.0))
        machine.clock.ahead_s = random.choice(JUMPS_S)


async def come_and_go(world: World, random: Random) -> None:
    """Let the store be away now and then."""
    for _ in range(4):
        await asyncio.sleep(random.uniform(0.0, 20.0))
        world.store.is_away = not world.store.is_away


async def cancel_job(world: World, random: Random) -> None:
    """Cancel the job; what is not done by then is done no more."""
    await asyncio.sleep(random.uniform(0.0, 25.0))
    world.server.job_state = "cancelled"
    await asyncio.sleep(LATE_S + 25.0)  # what was on its way may come, once the job was looked at before
    made = len(placeholders(world))
    await asyncio.sleep(SEEN_S)
    begun = len(world.executions)
    if world.executing:
        world.watch.found.append("a run of a cancelled job goes on")
    await asyncio.sleep(SEEN_S)
    if len(world.executions) > begun:
        world.watch.found.append("a task of a cancelled job was started")
    if len(placeholders(world)) > made:
        world.watch.found.append("a task of a cancelled job was requeued")


def placeholders(world: World) -> list[str]:
    """Return the runs that were made to have a task pending."""
    return [id_ for id_, run in world.server.runs.items() if not run["startedAt"]]


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
    found += world.watch.found
    found += [f"the result of {task} is lost" for task in set(world.finished) - set(world.successes())]
    runs = world.server.runs.values()
    found += [f"run {run['id']} stays live" for run in runs if run["startedAt"] and not run["stoppedAt"]]
    told = {file["url"] for run in runs for file in (run.get("results") or {}).get("files", [])}
    found += [f"{url} is told and not stored" for url in told - world.store.files.keys()]
    found += [f"{url} is stored and not told" for url in world.store.files.keys() - told]
    if mix.ids == "key" and not mix.is_cancelled and sorted(world.successes()) != sorted(world.server.tasks):
        found.append(f"not one success each: {sorted(world.successes())}")
    return found


def pending(world: World, machines: Iterable[Machine]) -> str:
    """Say what is not done."""
    tasks = [task for task in world.server.tasks if world.status(task) != "Success"]
    entries = [f"{m.name}: {e.run_id} {e.marks}" for m in machines for e in m.entries.values()]
    return f"{tasks} have no success; journals: {entries}"
