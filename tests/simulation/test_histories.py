"""Whole agents, unchanged, in virtual time: on servers of three kinds and a network that misbehaves."""

from __future__ import annotations

import asyncio
import os

import httpx
import pytest

from tests.simulation.histories import problems_of
from tests.simulation.leases import LEASE_S, LeasingServer
from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine, work_off
from tests.simulation.mixes import MIXES
from tests.simulation.network import QUICK, Carried
from tests.simulation.server import Ids
from tests.simulation.world import LAG_S, World, until
from worker.api.wire import ErrorKind

HISTORIES = int(os.environ.get("MILLHAND_HISTORIES", "4"))  # of each mix; hundreds before a release


@pytest.mark.parametrize("seed", range(HISTORIES))
@pytest.mark.parametrize("mix", MIXES)
def test_whatever_happens_no_result_is_lost_and_no_task_runs_twice_at_once(mix: str, seed: int) -> None:
    """Agents are killed and drained, requests fail, the server is away: in the end all is done and told."""
    assert problems_of(MIXES[mix], seed) == []


@pytest.mark.parametrize("ids", ["key", "ignore", "overwrite"])
@pytest.mark.parametrize("seed", range(3))
def test_every_task_succeeds_exactly_once_on_every_kind_of_server(ids: Ids, seed: int) -> None:
    """Three agents race for 20 tasks on a good network: no task runs twice, none is left."""

    async def main() -> World:
        world = World(seed, ids, 0.0, 20, lag_s=0.0 if ids == "key" else LAG_S)
        await work_off(world, [Machine(world, f"pod/{at}") for at in range(3)])
        return world

    world = run_virtual(main())
    assert sorted(world.executions) == sorted(world.server.tasks)
    assert all(run["stoppedAt"] for run in world.server.runs.values())


@pytest.mark.parametrize("seed", range(8))
def test_lost_late_and_doubled_requests_neither_lose_nor_double(seed: int) -> None:
    """A tenth of all requests meets a fault; each task is executed and accepted exactly once."""

    async def main() -> World:
        world = World(seed, "key", 0.1, 20)
        await work_off(world, [Machine(world, f"pod/{at}") for at in range(3)])
        return world

    world = run_virtual(main())
    assert sorted(world.successes()) == sorted(world.server.tasks)
    assert sorted(world.executions) == sorted(world.server.tasks)


@pytest.mark.parametrize("seed", range(4))
def test_a_drained_agent_gives_its_tasks_to_the_next(seed: int) -> None:
    """Running tasks are stopped, requeued, and finished by another agent."""

    async def main() -> World:
        world = World(seed, "key", 0.05, 6)
        world.network.faults = QUICK  # else its last word may come after its drain
        first = await Machine(world, "pod/first").agent()
        life = asyncio.create_task(first.run())
        await until(lambda: len(world.executing) == 3, 600.0)
        first.drain.request(ErrorKind.DRAINED, "SIGTERM")
        assert await life == 0
        assert not world.executing
        await work_off(world, [Machine(world, "pod/second")])
        return world

    world = run_virtual(main())
    assert sorted(world.successes()) == sorted(world.server.tasks)


@pytest.mark.parametrize("seed", range(6))
def test_an_agent_that_dies_takes_up_its_work_at_the_next_start(seed: int) -> None:
    """Killed at any moment, its disk as it was: runs closed, results delivered, tasks done."""

    async def main() -> World:
        world = World(seed, "key", 0.05, 8)
        machine = Machine(world, "pod/a")
        for _ in range(4):
            life = asyncio.create_task((await machine.agent()).run())
            await asyncio.sleep(world.random.uniform(0.05, 20.0))
            machine.life.is_over.set()
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
        await work_off(world, [machine])
        return world

    world = run_virtual(main())
    assert set(world.finished) <= set(world.successes())
    assert sorted(set(world.successes())) == sorted(world.server.tasks)
    assert all(run["stoppedAt"] for run in world.server.runs.values() if run["startedAt"])


def test_a_cancelled_job_stops_its_runs_and_is_never_requeued() -> None:
    """What the user wants is looked at every few seconds."""

    async def main() -> World:
        world = World(1, "key", 0.0, 3)
        agent = await Machine(world, "pod/a", job_interval_s=1.0).agent()
        life = asyncio.create_task(agent.run())
        await until(lambda: world.executing, 60.0)
        world.server.job_state = "cancelled"
        await until(lambda: not world.executing, 30.0)
        await asyncio.sleep(60.0)
        agent.drain.request(ErrorKind.DRAINED, "done")
        await life
        return world

    world = run_virtual(main())
    stopped = [run for run in world.server.runs.values() if run.get("resultCode") == "Failed"]
    assert stopped
    assert all(run["error"].startswith("cancelled") for run in stopped)
    assert not any(run["startedAt"] is None for run in world.server.runs.values())


@pytest.mark.parametrize("ids", ["key", "ignore"])
def test_a_task_that_runs_here_is_not_claimed_again_whatever_lists_show(ids: Ids) -> None:
    """They lag for longer than a task that was tried is left alone: its run goes on, and is told."""

    async def main() -> World:
        world = World(1, ids, 0.0, 3, lag_s=10.0)
        await work_off(world, [Machine(world, "pod/a", settle_s=10.1)])
        return world

    world = run_virtual(main())
    assert sorted(world.executions) == sorted(world.server.tasks)
    assert not [run for run in world.server.runs.values() if run["stoppedAt"] is None]


def test_no_handler_starts_on_a_lease_that_is_over() -> None:
    """The machine slept while its claim was answered: it waits for a report that renews the lease."""

    async def main() -> tuple[list[str], int]:
        world = World(1, "key", 0.0, 1, server=LeasingServer)
        machine = Machine(world, "pod/a")
        carry = world.network.carry

        async def asleep(sender: str, request: httpx.Request) -> Carried:
            if request.method == "POST":
                machine.clock.sleep(LEASE_S)
            return await carry(sender, request)

        world.network.carry = asleep  # type: ignore[method-assign]
        life = asyncio.create_task((await machine.agent()).run())
        await until(lambda: world.executions, 60.0)
        asked = [asked for asked in world.server.asked if "/runs" in asked]
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        return asked, len(world.executions)

    asked, executions = run_virtual(main())
    assert [one.split()[0] for one in asked] == ["POST", "PUT"]
    assert executions == 1
