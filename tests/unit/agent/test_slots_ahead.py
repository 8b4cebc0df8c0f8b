"""How far claims go ahead of the outcomes before them: in virtual time, beside a disk that syncs slowly."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine
from tests.simulation.world import World, until
from worker.agent.server_kind import ServerKind

RUNS = "POST /api/jobs/runs"


@pytest.mark.parametrize(("places", "claims"), [({}, 2), ({"noop": 1}, 1)])
def test_a_slot_is_free_while_the_outcome_of_its_run_is_synced(places: dict[str, int], claims: int) -> None:
    """The next claim goes out beside the sync; no second one follows, nor one beyond a type's limit."""
    world = World(1, "key", 0.0, 5)
    machine = Machine(world, "pod/a", concurrency=1, type_concurrency=places)
    machine.kind = ServerKind.KEY
    world.run_max_s = 0.1  # so that the next task is at hand, of a fresh list
    begun, gate = asyncio.Event(), asyncio.Event()

    async def main() -> tuple[int, int]:
        agent = await machine.agent()
        sync = machine.io.fdatasync

        async def held(name: str) -> None:
            begun.set()
            await gate.wait()
            await sync(name)

        machine.io.fdatasync = held  # type: ignore[method-assign]  # a disk that takes its time
        life = asyncio.create_task(agent.run())
        await begun.wait()
        await asyncio.sleep(5.0)  # less than the journal waits for a disk
        seen = world.server.asked.count(RUNS), len(world.successes())
        gate.set()
        await until(lambda: len(world.successes()) == 5, 900.0)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        return seen

    assert run_virtual(main()) == (claims, 0)


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_a_disk_that_does_not_sync_bounds_how_many_claims_are_ahead(slots: int) -> None:
    """Runs go on ending meanwhile; what they make free claims no more than the write that is held allows."""
    world = World(1, "key", 0.0, 60)
    machine = Machine(world, "pod/a", concurrency=slots)
    machine.kind = ServerKind.KEY
    world.run_max_s = 0.1
    begun, gate = asyncio.Event(), asyncio.Event()

    async def main() -> tuple[int, int, int]:
        agent = await machine.agent()
        sync = machine.io.fdatasync

        async def held(name: str) -> None:
            begun.set()
            await gate.wait()
            await sync(name)

        machine.io.fdatasync = held  # type: ignore[method-assign]  # a disk that hangs
        life = asyncio.create_task(agent.run())
        await begun.wait()
        await asyncio.sleep(25.0)  # less than the journal waits for a disk; time for fifty runs
        seen = world.server.asked.count(RUNS), len(machine.entries), len(world.successes())
        gate.set()
        await until(lambda: len(world.successes()) == 60, 900.0)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        return seen

    claims, open_entries, told = run_virtual(main())
    assert told == 0
    assert slots < claims <= 2 * slots
    assert open_entries <= 3 * slots  # those claims, and as many intents as there are slots
