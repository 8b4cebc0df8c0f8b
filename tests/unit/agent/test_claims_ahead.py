"""Claims that go ahead of free slots while runs are short: whole agents, in virtual time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from tests.simulation.leases import LeasingServer
from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine
from tests.simulation.server import VirtualServer
from tests.simulation.world import World, until
from worker.agent.claim_rules import attempts_before
from worker.api.models import Run, Task

SLOTS = 2
RUNS = "POST /api/jobs/runs"


def runs_of(world: World, task_id: str) -> list[Run]:
    """Return the runs of a task as the server shows them."""
    return [run for raw in world.server.runs_of(task_id) if (run := Run.read(raw, {})) is not None]


def worked_off(world: World, **settings: Any) -> int:
    """Have one agent do all tasks; return the most runs that it had live at once."""
    most = 0
    looked = world.network.on_served

    def look(method: str, path: str, status: int) -> None:
        nonlocal most
        looked(method, path, status)
        live = [run for run in world.server.runs.values() if run["startedAt"] and not run["stoppedAt"]]
        most = max(most, len(live) - len(world.finished) + len(world.successes()))

    world.network.on_served = look

    async def main() -> None:
        agent = await Machine(world, "pod/a", concurrency=SLOTS, **settings).agent()
        life = asyncio.create_task(agent.run())
        await until(lambda: len(world.successes()) == len(world.server.tasks), 900.0)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)

    run_virtual(main())
    return most


def world_of(tasks: int, *, long: frozenset[int] = frozenset(), server: type[VirtualServer]) -> World:
    """Return a world whose executions are over within moments, but for some."""
    world = World(1, "key", 0.0, tasks, server=server)
    world.takes_s = lambda: 20.0 if len(world.executions) in long else 0.01  # type: ignore[method-assign]
    return world


@pytest.mark.parametrize(
    ("server", "settings", "is_ahead"),
    [
        (LeasingServer, {}, True),
        (LeasingServer, {"claim_ahead": "off"}, False),
        (LeasingServer, {"type_concurrency": {"noop": SLOTS}}, False),
        (VirtualServer, {}, False),
    ],
    ids=["ours", "off", "type limited", "foreign"],
)
def test_more_is_claimed_than_slots_are_free_only_where_it_may(
    server: type[VirtualServer], settings: dict[str, Any], is_ahead: bool
) -> None:
    """On a server of ours, of types without a limit, unless a person says no; never is more executed."""
    world = world_of(60, server=server)
    most = worked_off(world, **settings)
    assert (most > SLOTS) is is_ahead
    assert world.most_on_stage["pod/a"] == SLOTS
    assert sorted(world.executions) == sorted(world.server.tasks)


def test_what_was_claimed_ahead_of_a_long_run_is_given_back_and_done_later() -> None:
    """Others may begin with it meanwhile. It is no attempt, and says why it ended."""
    world = world_of(30, long=frozenset({12, 13}), server=LeasingServer)
    worked_off(world)
    given_back = [run for run in world.server.runs.values() if "given back" in str(run.get("error"))]
    assert given_back
    assert {str(run["error"]).partition(":")[0] for run in given_back} == {"lost_claim"}
    assert {run["results"]["retry"]["attempt"] for run in given_back} == {None}
    counted = {attempts_before(runs_of(world, run["taskId"])) for run in given_back}
    assert counted == {1}  # the one in which it was done
    assert sorted(world.executions) == sorted(world.server.tasks)


@pytest.mark.parametrize("ends", ["before the poll", "while it is held"])
def test_a_poll_that_went_ahead_claims_nothing_once_a_long_run_has_begun(ends: str) -> None:
    """Its task is left to others, not claimed and given back; and no poll asks for less than one."""
    world = world_of(3, long=frozenset({0, 1, 2, 3}), server=LeasingServer)
    asked_for: list[int] = []

    async def main() -> None:
        agent = await Machine(world, "pod/a", concurrency=1).agent()
        supervisor = agent.supervisor
        places = SimpleNamespace(ahead=4)
        supervisor._places = places  # type: ignore[assignment]
        wait, ask = supervisor._wait_until_free, supervisor._poller.next

        async def waited() -> None:
            await wait()
            if world.executing and ends == "before the poll":
                places.ahead = -1  # as where claims that went ahead are under way still

        async def asked(free: int) -> Task:
            asked_for.append(free)
            task = await ask(free)
            places.ahead = 0 if len(asked_for) > 1 else 4
            return task

        supervisor._wait_until_free = waited  # type: ignore[method-assign]
        supervisor._poller.next = asked  # type: ignore[method-assign]
        life = asyncio.create_task(agent.run())
        await asyncio.sleep(10.0)
        assert len(asked_for) > 1
        assert world.server.asked.count(RUNS) == 1
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)

    run_virtual(main())
    assert min(asked_for) >= 1
