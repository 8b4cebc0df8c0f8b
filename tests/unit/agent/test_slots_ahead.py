"""How far claims go ahead of the outcomes before them: in virtual time, beside a disk that syncs slowly."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest

from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine
from tests.simulation.world import World, until
from worker.agent.server_kind import ServerKind

RUNS = "POST /api/jobs/runs"


class Seen(NamedTuple):
    """What there is while the disk does not come to the end of a sync."""

    claims: int
    open_entries: int
    told: int


async def while_a_sync_is_held(world: World, machine: Machine, *, held_s: float) -> Seen:
    """Let the first sync take so long, less than the journal waits for a disk; then see all tasks done."""
    agent = await machine.agent()
    begun, gate, sync = asyncio.Event(), asyncio.Event(), machine.io.fdatasync

    async def held(name: str) -> None:
        begun.set()
        await gate.wait()
        await sync(name)

    machine.io.fdatasync = held  # type: ignore[method-assign]
    life = asyncio.create_task(agent.run())
    await begun.wait()
    await asyncio.sleep(held_s)
    seen = Seen(world.server.asked.count(RUNS), len(machine.entries), len(world.successes()))
    gate.set()
    await until(lambda: len(world.successes()) == len(world.server.tasks), 900.0)
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)
    return seen


@pytest.mark.parametrize(("places", "claims"), [({}, 2), ({"noop": 1}, 1)])
def test_a_slot_is_free_while_the_outcome_of_its_run_is_synced(places: dict[str, int], claims: int) -> None:
    """The next claim goes out beside the sync; no second one follows, nor one beyond a type's limit."""
    world = World(1, "key", 0.0, 5)
    machine = Machine(world, "pod/a", concurrency=1, type_concurrency=places)
    machine.kind = ServerKind.KEY
    world.run_max_s = 0.1  # so that the next task is at hand, of a fresh list

    seen = run_virtual(while_a_sync_is_held(world, machine, held_s=5.0))
    assert (seen.claims, seen.told) == (claims, 0)


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_a_disk_that_does_not_sync_bounds_how_many_claims_are_ahead(slots: int) -> None:
    """Runs go on ending meanwhile; what they make free claims no more than the write that is held allows."""
    world = World(1, "key", 0.0, 60)
    machine = Machine(world, "pod/a", concurrency=slots)
    machine.kind = ServerKind.KEY
    world.run_max_s = 0.1

    seen = run_virtual(while_a_sync_is_held(world, machine, held_s=25.0))  # time for fifty runs
    assert seen.told == 0
    assert slots < seen.claims <= 2 * slots
    assert seen.open_entries <= 3 * slots  # those claims, and as many intents as there are slots
