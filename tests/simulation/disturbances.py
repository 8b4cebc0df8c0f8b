"""What happens beside the lives of agents: networks part, clocks jump, jobs are cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from random import Random
from typing import Any, Final

from tests.simulation.machine import Machine
from tests.simulation.mixes import Mix
from tests.simulation.network import LATE_S, Link
from tests.simulation.world import World

__all__ = ["JUMPS_S", "disturbances"]

OUTAGES_S: Final = (30.0, 120.0, 900.0)
JUMPS_S: Final = (-31_536_000.0, -3600.0, -0.5, 0.5, 3600.0, 31_536_000.0)
SEEN_S: Final = 120.0  # after which every agent has seen that its job is cancelled


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
    if mix.comes_later:
        yield make_tasks(world, random)


async def make_tasks(world: World, random: Random) -> None:
    """Let tasks come one after another, most of them to agents that wait."""
    while world.later:
        await asyncio.sleep(random.choice((0.1, 3.0, random.uniform(0.0, 10.0))))
        world.server.add_task(world.later.pop())


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
