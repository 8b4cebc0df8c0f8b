"""The life of an agent: when it waits, when it hurries, when it ends; in virtual time."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from structlog.contextvars import get_contextvars
from structlog.testing import capture_logs

from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine
from tests.simulation.world import World, until
from worker.agent.assemble import Agent
from worker.api.wire import ErrorKind
from worker.reporting.journal import JournalError

RUNS = "POST /api/jobs/runs"
JOB = "GET /api/jobs/job"
POLL = "GET /api/jobs/tasks"


def now_s() -> float:
    """Return the virtual time."""
    return asyncio.get_running_loop().time()


def alive(
    world: World, main: Callable[[Agent, asyncio.Task[int]], Any], **settings: Any
) -> tuple[Any, Machine]:
    """Let an agent live while `main` watches it."""
    machine = Machine(world, "pod/a", **settings)

    async def live() -> Any:
        agent = await machine.agent()
        life = asyncio.create_task(agent.run())
        try:
            return await main(agent, life)
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)

    return run_virtual(live()), machine


def drain(agent: Agent) -> None:
    """Send SIGTERM."""
    agent.drain.request(ErrorKind.DRAINED, "SIGTERM")


@pytest.mark.parametrize("slots", [1, 4])
def test_an_agent_that_ends_when_idle_does_not_leave_what_it_requeued(slots: int) -> None:
    """A run fails and may be tried again: its task is pending when the run's report is out."""
    world = World(1, "key", 0.0, 3)
    world.fails_once = {"task-0", "task-1"}

    async def main(_: Agent, life: asyncio.Task[int]) -> int:
        async with asyncio.timeout(600.0):
            return await life

    assert alive(world, main, exit_when_idle=True, concurrency=slots)[0] == 0
    assert sorted(world.successes()) == sorted(world.server.tasks)


def test_an_agent_that_ends_when_idle_ends_soon_where_there_is_nothing() -> None:
    """Two looks are enough."""

    async def main(_: Agent, life: asyncio.Task[int]) -> float:
        await life
        return now_s()

    assert alive(World(1, "key", 0.0, 0), main, exit_when_idle=True)[0] < 20.0


def test_an_agent_that_ends_when_idle_does_not_wait_for_a_paused_job() -> None:
    """Its tasks are listed by servers that know no pause; there is nothing to do."""
    world = World(1, "key", 0.0, 3)
    world.server.job_state = "paused"

    async def main(_: Agent, life: asyncio.Task[int]) -> int:
        async with asyncio.timeout(600.0):
            return await life

    assert alive(world, main, exit_when_idle=True)[0] == 0
    assert world.executions == []


@pytest.mark.parametrize(("ids", "status"), [("key", 403), ("key", 422), ("key", 429), ("ignore", 403)])
def test_a_server_that_denies_every_claim_is_not_hammered(status: int, ids: Any) -> None:
    """A token that may read and not claim: twenty minutes of it cost few requests, and no slot hangs."""
    world = World(1, ids, 0.0, 30)
    world.server.denies[RUNS] = (status, {"error": {"code": "no", "message": "no"}})

    async def main(agent: Agent, life: asyncio.Task[int]) -> float:
        await asyncio.sleep(1200.0)
        world.server.denies.clear()
        await until(lambda: world.executing, 300.0)
        drain(agent)
        await life
        return 0.0

    alive(world, main, concurrency=8, poll_max_s=60.0)
    assert world.server.asked.count(RUNS) < 500
    assert len(world.server.asked) < 2_500  # some 1,800; by the seed up to 2,100


def test_a_claims_retry_after_is_obeyed_and_holds_up_no_drain() -> None:
    """The server says when; SIGTERM ends the wait."""
    world = World(1, "key", 0.0, 50)
    world.server.denies[RUNS] = (429, {})
    world.server.retry_after_s = 600

    async def main(agent: Agent, life: asyncio.Task[int]) -> tuple[int, float]:
        await asyncio.sleep(500.0)
        posts, before_s = world.server.asked.count(RUNS), now_s()
        drain(agent)
        await life
        return posts, now_s() - before_s

    (posts, took_s), _ = alive(world, main)
    assert posts <= 3  # of the slots that asked at once
    assert took_s < 1.0


def test_a_paused_job_is_not_polled_like_one_that_has_work() -> None:
    """The server lists its tasks as pending all the same; when it goes on, so does the agent."""
    world = World(1, "key", 0.0, 120)
    world.server.job_state = "paused"

    async def main(agent: Agent, life: asyncio.Task[int]) -> int:
        await asyncio.sleep(3600.0)
        polls = world.server.asked.count(POLL)
        world.server.job_state = "active"
        await until(lambda: world.executing, 120.0)
        return polls

    polls, _ = alive(world, main, poll_max_s=60.0)
    assert polls < 600
    assert world.server.asked.count(RUNS) > 0


def test_a_second_sigterm_ends_the_agent_soon_although_the_server_is_away() -> None:
    """What is not delivered stays in the journal; a first one waits for the whole time."""

    async def main(agent: Agent, life: asyncio.Task[int]) -> float:
        await until(lambda: len(world.executing) == 3, 60.0)
        world.network.is_down = True
        await asyncio.sleep(40.0)
        drain(agent)
        await asyncio.sleep(2.0)
        before_s = now_s()
        drain(agent)
        assert await life == 0
        return now_s() - before_s

    world = World(2, "key", 0.0, 9)
    took_s, machine = alive(world, main, drain_timeout_s=600.0)
    assert took_s <= 6.0
    assert not world.executing
    assert all(entry.terminal is not None for entry in machine.entries.values())


def test_a_claim_under_way_does_not_hold_up_a_second_sigterm() -> None:
    """The server takes the claim and does not answer: its intent is resolved at the next start."""

    async def main(agent: Agent, life: asyncio.Task[int]) -> float:
        await asyncio.sleep(0.05)
        world.network.is_down = True
        await asyncio.sleep(30.0)
        drain(agent)
        drain(agent)
        before_s = now_s()
        assert await life == 0
        return now_s() - before_s

    world = World(1, "key", 0.0, 9)
    assert alive(world, main, drain_timeout_s=600.0)[0] <= 6.0


def test_a_fault_of_the_agent_tells_its_handlers_and_keeps_their_outcomes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It ends with the fault; but runs are stopped, told and requeued, not left to the next start."""

    async def main(agent: Agent, life: asyncio.Task[int]) -> float:
        await until(lambda: len(world.executing) == 3, 60.0)
        before_s = now_s()
        # a fault that no fake of the world can bring about: a slip in our own code
        monkeypatch.setattr(agent.supervisor._poller, "_poll", None)
        with pytest.raises(TypeError):
            await life
        return now_s() - before_s

    world = World(3, "key", 0.0, 3)
    took_s, machine = alive(world, main, drain_timeout_s=30.0)
    assert took_s < 12.0  # the fault shows at the next poll
    ends = [run["error"].partition(":")[0] for run in world.server.runs.values() if run.get("error")]
    assert set(ends) <= {"drained"}
    assert machine.entries == {}


def test_a_job_of_a_slow_server_is_looked_at_beside_the_others() -> None:
    """A cancel is seen although the looks at other jobs hang."""
    world = World(1, "key", 0.0, 3)
    world.run_max_s = 3000.0
    for at, task in enumerate(world.server.tasks.values()):
        task["jobId"] = f"job-{at}"
    slow: set[str] = set()
    carry = world.network.carry

    async def sometimes(sender: str, request: Any) -> Any:
        if request.url.path in slow:
            await asyncio.sleep(1e6)
        return await carry(sender, request)

    world.network.carry = sometimes  # type: ignore[method-assign]

    async def main(agent: Agent, life: asyncio.Task[int]) -> float:
        await until(lambda: len(world.executing) == 3, 60.0)
        last = world.executions[-1]
        slow.update(f"/api/jobs/job-{at}" for at in range(3) if f"task-{at}" != last)
        world.server.job_state = "cancelled"
        before_s = now_s()
        await until(lambda: last not in world.executing, 300.0)
        return now_s() - before_s

    assert alive(world, main, job_interval_s=1.0)[0] < 5.0
    assert world.executions[-1] not in world.finished


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_run_that_is_somebody_elses_is_never_written_to_again(is_stopped: bool) -> None:
    """Its handler finishes all the same: the result stays on disk, for a person."""
    world = World(1, "key", 0.0, 1)
    world.is_deaf = True

    async def main(agent: Agent, life: asyncio.Task[int]) -> int:
        await until(lambda: world.executing, 60.0)
        (run,) = world.server.runs.values()
        run.update({"podId": "pod/b"} | ({"stoppedAt": run["startedAt"]} if is_stopped else {}))
        world.server.accepts_stopped = True
        await until(lambda: world.server.asked[-1].startswith("PUT"), 60.0)
        asked = len(world.server.asked)
        await asyncio.sleep(30.0)
        world.is_deaf = False
        await until(lambda: not world.executing, 60.0)
        await asyncio.sleep(30.0)
        return sum(one.startswith("PUT") for one in world.server.asked[asked:])

    puts, machine = alive(world, main)
    assert puts == 0
    assert ["fenced" in entry.marks for entry in machine.entries.values()] == [True]


def test_while_the_state_directory_cannot_be_written_nothing_is_claimed() -> None:
    """No claim without its intent: not one request. Told once, with what to do; and once when it is over."""
    world = World(1, "key", 0.0, 9)
    machine = Machine(world, "pod/a", concurrency=1)

    async def main() -> int:
        agent = await machine.agent()
        machine.io.fail = lambda call, name: OSError(errno.EROFS, "Read-only file system")
        life = asyncio.create_task(agent.run())
        await asyncio.sleep(600.0)
        posts = world.server.asked.count(RUNS)
        machine.io.fail = lambda call, name: None
        await until(lambda: len(world.successes()) == 9, 900.0)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        return posts

    with capture_logs() as logs:
        assert run_virtual(main()) == 0
    told = [one["event"] for one in logs if one["event"].startswith("journal.")]
    assert told.count("journal.refused") <= 2  # the claim that met it, and the wait that it began
    assert told.count("journal.accepts") == 1


def test_the_loop_that_takes_tasks_looks_for_a_slot_only_while_one_is_free() -> None:
    """Not at each end of a run and at each answer to its report: a busy slot stays busy meanwhile.

    Where the next task is at hand it has the slot in the same moment, and nobody is woken.
    """
    world = World(1, "key", 0.0, 40)
    world.run_max_s = 0.1
    looks = 0

    async def main(agent: Agent, life: asyncio.Task[int]) -> None:
        nonlocal looks
        is_full = agent.supervisor._is_full

        def counted() -> bool:
            nonlocal looks
            looks += 1
            return is_full()

        agent.supervisor._is_full = counted  # type: ignore[method-assign]  # how often, nobody else tells
        await until(lambda: len(world.successes()) == 40, 600.0)

    alive(world, main, concurrency=1)
    assert looks < 70


def hold(agent: Agent, _: Machine) -> None:
    """Pause it, as an operator does."""
    agent.survey.holds.hold("test", "reason", "hint")


def deny(agent: Agent, _: Machine) -> None:
    """Have the server deny a claim."""
    agent.supervisor._poller.hold(30.0)


def fail(_: Agent, machine: Machine) -> None:
    """Break its disk."""
    machine.io.fail = lambda call, name: OSError(errno.EROFS, "Read-only file system")


@pytest.mark.parametrize("stop", [lambda agent, _: drain(agent), hold, deny, fail])
def test_a_slot_that_becomes_free_takes_nothing_where_nothing_may_be_taken(
    stop: Callable[[Agent, Machine], None],
) -> None:
    """Though tasks of the last list are at hand."""
    world = World(1, "key", 0.0, 40)
    world.run_max_s = 0.1
    machine = Machine(world, "pod/a", concurrency=3)
    begun = 0

    async def main() -> None:
        nonlocal begun
        agent = await machine.agent()
        life = asyncio.create_task(agent.run())
        await until(lambda: len(world.executing) == 3 and world.successes(), 600.0)
        stop(agent, machine)
        if stop is fail:
            with suppress(JournalError):  # another write finds it before
                await agent.supervisor._journal.sync()
        attempt = agent.supervisor._attempt

        def counted(task: Any) -> Any:
            nonlocal begun
            begun += 1
            return attempt(task)

        assert world.executing
        agent.supervisor._attempt = counted  # type: ignore[method-assign]  # the claim itself would refuse
        await asyncio.sleep(1.0)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)

    run_virtual(main())
    assert begun == 0


def test_a_task_that_is_taken_at_once_speaks_of_itself_in_the_log() -> None:
    """Not of the run whose slot it got: what is logged of its claim names no other run."""
    world = World(1, "key", 0.0, 40)
    world.run_max_s = 0.1
    bound: list[dict[str, Any]] = []

    async def main(agent: Agent, life: asyncio.Task[int]) -> None:
        attempts = agent.supervisor._attempts
        run = attempts.run

        def noted(*given: Any) -> Any:
            bound.append(get_contextvars())
            return run(*given)

        attempts.run = noted  # type: ignore[method-assign, assignment]  # what a line would name, before there is one
        await until(lambda: len(world.successes()) == 40, 600.0)

    alive(world, main, concurrency=1)
    assert len(bound) >= 40
    assert not any(bound)


def test_a_slot_that_is_free_only_at_the_end_of_an_attempt_is_filled_at_once() -> None:
    """Its type has no room until then: no look by itself, half a minute later, is needed."""
    world = World(1, "key", 0.0, 10)
    world.run_max_s = 0.1

    async def main(agent: Agent, life: asyncio.Task[int]) -> float:
        await until(lambda: len(world.successes()) == 10, 600.0)
        return now_s()

    settings = {"concurrency": 1, "type_concurrency": {"noop": 1}}
    assert alive(world, main, **settings)[0] < 30.0
