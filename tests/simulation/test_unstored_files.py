"""Files that cannot be stored for now, or not at all, in virtual time: what their runs tell meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.simulation.filed import alive, check, is_done, stopped, told, work_off, world_of
from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine
from tests.simulation.world import until
from worker.agent.assemble import Agent


def test_a_failed_run_is_told_soon_and_its_files_follow() -> None:
    """Its task must be tried again: the report does not wait for a store that is away; the files do."""
    world = world_of()
    world.fails_once = {"task-0"}
    world.store.is_away = True

    async def main() -> Machine:
        machine = Machine(world, "pod/a")

        async def look(agent: Agent, life: asyncio.Task[int]) -> None:
            await until(lambda: stopped(world, "Failed"), 120.0)
            assert [file["stored"] for file in told(world, "Failed")] == [False, False]
            await until(lambda: len(world.executions) == 2, 60.0)
            await asyncio.sleep(600.0)
            assert len(machine.spooled) == 4

        await alive(machine, look)
        world.store.is_away = False
        await work_off(world, machine)
        return machine

    machine = run_virtual(main())
    assert machine.spooled == {}
    urls = [file["url"] for result in ("Success", "Failed") for file in told(world, result)]
    assert sorted(urls) == sorted(world.store.files)
    assert len(urls) == 4


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_stopped_job_does_not_wait_for_the_store(is_killed: bool) -> None:
    """Its run ends as cancelled, with the value; its files come later, in this life or the next."""
    world = world_of()
    world.store.is_away = True

    async def main() -> Machine:
        machine = Machine(world, "pod/a", job_interval_s=1.0)

        async def look(agent: Agent, life: asyncio.Task[int]) -> None:
            await until(lambda: world.store.puts, 60.0)
            world.server.job_state = "cancelled"
            await until(lambda: stopped(world, "Failed"), 60.0)
            await asyncio.sleep(30.0)
            if not is_killed:
                world.store.is_away = False
                await until(lambda: not machine.entries, 120.0)

        async def again(agent: Agent, life: asyncio.Task[int]) -> None:
            await until(lambda: not machine.entries, 120.0)

        await alive(machine, look)
        world.store.is_away = False
        await alive(machine, again)
        return machine

    machine = run_virtual(main())
    (run,) = stopped(world, "Failed")
    assert run["error"].startswith("cancelled: the job was stopped before 2 file(s)")
    assert run["results"]["task"] == "task-0"
    assert len(world.store.files) == 2
    assert machine.spooled == {}
    assert len(world.server.runs) == 1, "it is not requeued"


def test_a_run_that_is_given_away_keeps_its_files_for_a_person() -> None:
    """Nothing is written to it, nothing is stored; what is marked so stays over restarts."""
    world = world_of()
    world.store.is_away = True

    async def main() -> Machine:
        machine = Machine(world, "pod/a")

        async def look(agent: Agent, life: asyncio.Task[int]) -> None:
            await until(lambda: world.store.puts, 60.0)
            (run,) = world.server.runs.values()
            run["podId"] = "pod/other"
            await until(lambda: any("fenced" in entry.marks for entry in machine.entries.values()), 60.0)
            world.store.is_away = False
            await asyncio.sleep(600.0)

        await alive(machine, look)
        await alive(machine, lambda *_: asyncio.sleep(600.0))
        return machine

    machine = run_virtual(main())
    assert world.store.files == {}
    assert len(machine.spooled) == 2
    (entry,) = machine.entries.values()
    assert entry.ended is not None
    assert entry.ended["results"]["task"] == "task-0"


def test_a_store_that_refuses_is_told_to_a_person_and_tried_slowly() -> None:
    """An error in the log after some tries, again now and then; mended, all is stored."""
    world = world_of()
    world.store.refuses = True

    async def main() -> tuple[Machine, list[Any]]:
        machine = Machine(world, "pod/a")

        async def look(agent: Agent, life: asyncio.Task[int]) -> None:
            await until(lambda: len(world.store.puts) >= 10, 300.0)
            tries = len(world.store.puts)
            await asyncio.sleep(14400.0)
            assert len(world.store.puts) - tries < 2 * 14400 / 290
            world.store.refuses = False
            await until(lambda: is_done(world, machine), 1200.0)

        with capture_logs() as logs:
            await alive(machine, look)
        return machine, [line for line in logs if line["event"] == "files.refused"]

    world.limit_s = 20000.0
    machine, lines = run_virtual(main())
    check(world, machine)
    assert lines[0]["log_level"] == "error"
    assert "403" in lines[0]["error"]
    assert 1 < len(lines) < 5


def test_a_file_that_is_gone_from_the_spool_ends_the_run_as_failed() -> None:
    """Nothing brings it back; the other file and the value are told."""
    world = world_of()
    world.store.is_away = True

    async def main() -> Machine:
        machine = Machine(world, "pod/a", max_attempts=1)

        async def look(agent: Agent, life: asyncio.Task[int]) -> None:
            await until(lambda: len(world.store.puts) > 1, 60.0)
            await asyncio.sleep(0.1)  # no try is under way: what is open may be read to its end
            del machine.spooled[sorted(machine.spooled)[0]]
            world.store.is_away = False
            await until(lambda: not machine.entries, 200.0)

        await alive(machine, look)
        return machine

    run_virtual(main())
    (run,) = stopped(world, "Failed")
    assert run["error"].startswith("internal: file file-0 is gone")
    assert run["results"]["task"] == "task-0"
    assert [file["name"] for file in run["results"]["files"]] == ["file-1"]


def test_a_full_spool_claims_nothing_until_files_are_stored() -> None:
    """What runs already is taken all the same."""
    world = world_of(tasks=6)
    world.store.is_away = True

    async def main() -> Machine:
        machine = Machine(world, "pod/a", concurrency=1, spool_bytes=100)

        async def look(agent: Agent, life: asyncio.Task[int]) -> None:
            await asyncio.sleep(600.0)
            assert 1 <= len(world.executions) < 6
            world.store.is_away = False
            await until(lambda: is_done(world, machine), 600.0)

        await alive(machine, look)
        return machine

    check(world, run_virtual(main()))
