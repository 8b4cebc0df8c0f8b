"""Runs with files, in virtual time: the store is away or slow, the agent dies between any two steps."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulation.filed import alive, check, is_done, stopped, work_off, world_of
from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine
from tests.simulation.world import until
from worker.agent.assemble import Agent
from worker.api.wire import ErrorKind


def test_a_run_is_told_with_its_files_once_they_are_stored() -> None:
    """Name, URL, size, digest and type; nothing stays in the spool."""
    world = world_of()

    async def main() -> Machine:
        machine = Machine(world, "pod/a")
        await work_off(world, machine)
        return machine

    check(world, run_virtual(main()))
    assert len(world.store.puts) == 2


def test_a_store_that_is_away_frees_the_slot_and_the_run_goes_on_reporting() -> None:
    """One slot, five tasks, a store that is away for an hour: all run, none is silent, none is told."""
    world = world_of(tasks=5)
    world.store.is_away = True

    async def main() -> Machine:
        machine = Machine(world, "pod/a", concurrency=1)

        async def look(agent: Agent, life: asyncio.Task[int]) -> None:
            await until(lambda: len(world.finished) == 5, 120.0)
            world.server.asked.clear()
            await asyncio.sleep(3600.0)
            assert stopped(world) == []
            for run_id, run in world.server.runs.items():
                assert world.server.asked.count(f"PUT /api/jobs/runs/{run_id}") >= 3600 / 16
                assert "files are not stored yet" in run["results"]["message"]
                assert run["progress"] == 1.0
            assert len(world.store.puts) < 5 * 4 * 3600 / 20
            world.store.is_away = False
            await until(lambda: is_done(world, machine), 180.0)

        await alive(machine, look)
        return machine

    check(world, run_virtual(main()))
    assert sorted(world.executions) == sorted(world.server.tasks)


def test_files_are_stored_a_few_at_a_time() -> None:
    """Of all runs together, however many each has."""
    world = world_of(tasks=3, files=20)
    world.store.takes_s = 5.0

    async def main() -> Machine:
        machine = Machine(world, "pod/a")
        await work_off(world, machine)
        return machine

    check(world, run_virtual(main()))
    assert world.store.at_once_max == 4


@pytest.mark.parametrize("is_away", [False, True])
def test_an_agent_may_be_killed_between_any_two_steps(is_away: bool) -> None:
    """Whatever it was about to do: every file is stored under one name, every run ends once.

    A run whose outcome was on the disk is never executed again. The store is well, or away until the
    first life is over.
    """
    at = 1
    while live_and_die(at, is_away):
        at += 1
    assert at > 25, "there are more steps than that to a life"


def live_and_die(at: int, is_away: bool) -> bool:
    """Let an agent die before a step, and the next one finish; tell whether it came to that step."""
    world = world_of()
    world.store.is_away = is_away

    async def main() -> tuple[Machine, bool, int]:
        machine = Machine(world, "pod/a")

        async def look(agent: Agent, life: asyncio.Task[int]) -> bool:
            enough_s = 30.0 if is_away else world.limit_s
            over = asyncio.create_task(machine.life.is_over.wait())
            done = asyncio.create_task(until(lambda: is_done(world, machine), world.limit_s))
            await asyncio.wait({over, done}, timeout=enough_s, return_when=asyncio.FIRST_COMPLETED)
            came = over.done()
            for task in (over, done):
                task.cancel()
            return came

        came = await alive(machine, look, dies_at=at)
        has_outcome = any(entry.ended or entry.terminal for entry in await machine.open_entries())
        executed = len(world.executions)
        world.store.is_away = False
        await work_off(world, machine)
        assert not has_outcome or len(world.executions) == executed
        return machine, came, executed

    machine, came, _ = run_virtual(main())
    check(world, machine)
    lost = [run for run in stopped(world, "Failed") if run["error"].startswith("worker_lost")]
    assert len(lost) == len(world.executions) - 1 or len(world.executions) <= 1
    return came


@pytest.mark.parametrize("seed", range(6))
def test_lives_end_at_random_while_the_store_comes_and_goes(seed: int) -> None:
    """Answers get lost too; in the end all is stored and told once."""
    world = world_of(tasks=4, files=3, seed=seed)
    world.store.lost_ratio = 0.2

    async def main() -> Machine:
        machine = Machine(world, "pod/a")

        async def look(agent: Agent, life: asyncio.Task[int]) -> None:
            for _ in range(3):
                world.store.is_away = world.random.random() < 0.5
                await asyncio.sleep(world.random.uniform(0.0, 40.0))

        for _ in range(4):
            await alive(machine, look)
        world.store.is_away = False
        await work_off(world, machine)
        return machine

    check(world, run_virtual(main()))


def test_a_drained_agent_leaves_the_run_running_and_the_next_start_stores_its_files() -> None:
    """The store is away for the whole drain; no time is lost beyond it, nothing is executed again."""
    world = world_of()
    world.store.is_away = True

    async def main() -> tuple[Machine, float]:
        machine = Machine(world, "pod/a", drain_timeout_s=30.0)

        async def look(agent: Agent, life: asyncio.Task[int]) -> float:
            await until(lambda: world.store.puts, 60.0)
            agent.drain.request(ErrorKind.DRAINED, "SIGTERM")
            begun_s = asyncio.get_running_loop().time()
            assert await life == 0
            return asyncio.get_running_loop().time() - begun_s

        took_s = await alive(machine, look)
        (run,) = world.server.runs.values()
        assert run["stoppedAt"] is None
        world.store.is_away = False
        await work_off(world, machine)
        return machine, took_s

    machine, took_s = run_virtual(main())
    check(world, machine)
    assert took_s <= 30.0
    assert len(world.executions) == 1


def test_a_drain_waits_for_a_store_that_is_only_slow() -> None:
    """Storing may finish within the grace, and the report after it."""
    world = world_of()
    world.store.takes_s = 10.0

    async def main() -> Machine:
        machine = Machine(world, "pod/a", drain_timeout_s=30.0)

        async def look(agent: Agent, life: asyncio.Task[int]) -> None:
            await until(lambda: world.store.at_once, 60.0)
            agent.drain.request(ErrorKind.DRAINED, "SIGTERM")
            assert await life == 0

        await alive(machine, look)
        return machine

    check(world, run_virtual(main()))


def test_a_run_of_an_earlier_life_is_reported_although_the_server_was_away_at_the_start() -> None:
    """It is looked at until it is seen; then it goes on reporting while the store is away."""
    world = world_of()
    world.store.is_away = True

    async def main() -> Machine:
        machine = Machine(world, "pod/a")

        async def first(agent: Agent, life: asyncio.Task[int]) -> None:
            await until(lambda: world.store.puts, 60.0)

        async def second(agent: Agent, life: asyncio.Task[int]) -> None:
            await asyncio.sleep(100.0)
            world.network.is_down = False
            await asyncio.sleep(60.0)
            world.server.asked.clear()
            await asyncio.sleep(160.0)
            assert sum(asked.startswith("PUT") for asked in world.server.asked) >= 10
            world.store.is_away = False
            await until(lambda: is_done(world, machine), 200.0)

        await alive(machine, first)
        world.network.is_down = True
        await alive(machine, second)
        return machine

    check(world, run_virtual(main()))
    assert len(world.executions) == 1
