"""Runs with files, in virtual time: their world, agents that live for a while, what must hold at the end."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.simulation.machine import Machine
from tests.simulation.world import World, until
from worker.agent.assemble import Agent
from worker.api.wire import ErrorKind

TOLD = frozenset({"name", "url", "size", "sha256", "contentType"})


def world_of(tasks: int = 1, files: int = 2, seed: int = 1) -> World:
    """Return a world whose runs make files."""
    world = World(seed, "key", 0.0, tasks)
    world.files = files
    world.run_max_s = 1.0
    return world


def stopped(world: World, result: str = "Success") -> list[dict[str, Any]]:
    """Return the runs that ended so."""
    return [run for run in world.server.runs.values() if run.get("resultCode") == result]


def told(world: World, result: str = "Success") -> list[dict[str, Any]]:
    """Return what the results of ended runs tell of files."""
    return [file for run in stopped(world, result) for file in run.get("results", {}).get("files", [])]


async def alive(machine: Machine, main: Any, *, dies_at: int | None = None) -> Any:
    """Let an agent live while `main` looks on; it is dead afterwards, as after SIGKILL."""
    agent = await machine.agent(dies_at)
    life = asyncio.create_task(agent.run())
    try:
        return await main(agent, life)
    finally:
        machine.life.is_over.set()
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)


async def work_off(world: World, machine: Machine) -> None:
    """Let a last agent do what is left, in peace, and drain it."""

    async def main(agent: Agent, life: asyncio.Task[int]) -> None:
        await until(lambda: is_done(world, machine), world.limit_s)
        agent.drain.request(ErrorKind.DRAINED, "the test is over")
        assert await life == 0

    await alive(machine, main)


def is_done(world: World, machine: Machine) -> bool:
    """Tell whether every task succeeded, and nothing is left to tell."""
    return not machine.entries and all(world.status(task) == "Success" for task in world.server.tasks)


def check(world: World, machine: Machine) -> None:
    """See that everything is told and stored, once, and nothing is left behind."""
    files = told(world)
    assert len(files) == world.files * len(world.server.tasks)
    assert all(file.keys() == TOLD for file in files)
    assert sorted(file["url"] for file in files) == sorted(world.store.files)
    assert all(world.store.files[file["url"]].sha256 == file["sha256"] for file in files)
    assert sorted(world.successes()) == sorted(world.server.tasks)
    assert machine.spooled == {}
    assert all(run["stoppedAt"] for run in world.server.runs.values() if run["startedAt"])
