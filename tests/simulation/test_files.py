"""Runs with files, in virtual time: the store is away or refuses, the agent dies between any two steps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.simulation.loop import run_virtual
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
