"""A server that is away around the end of a run, for minutes or days, and an agent that is killed meanwhile.

`tests/acceptance/test_long_outage.py` does the same with real processes, in seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from typing import Any, Final

import pytest
import structlog

from tests.simulation.leases import LEASE_S, LeasingServer
from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine
from tests.simulation.network import FaultyNetwork
from tests.simulation.server import VirtualServer
from tests.simulation.stage import BookKeepingExecutor
from tests.simulation.store import VirtualSpool
from tests.simulation.world import World, until
from worker.api.retry import APART_S, RETURN_S, SCOUT_S
from worker.api.wire import ErrorKind, ResultCode
from worker.executor.assignment import Assignment
from worker.executor.executor import EventSink, StopRequest
from worker.executor.lease import Lease
from worker.executor.outcome import Outcome, RunError

OUTAGES_S: Final = (360.0, 900.0, 3600.0)
DAYS_S: Final = 3 * 86400.0
KILLED_AT: Final = (0.0, 0.5, 1.0)  # of the outage, once the outcome is on disk
ALL_OUTAGES: Final = [*((outage_s, at) for outage_s in OUTAGES_S for at in KILLED_AT), (DAYS_S, 0.25)]
SERVERS: Final = (VirtualServer, LeasingServer)
RUN_S: Final = 20.0  # an execution; the server goes away in the middle of the first one
DELIVERED_S: Final = 150.0  # after both are back: two of the longest waits, and the way
TOLD_S: Final = SCOUT_S + APART_S + RETURN_S  # after the server is back, by an agent that lived on


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Say nothing of the thousands of tries that fail in some days."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.configure(**before)


class Tokens(BookKeepingExecutor):
    """Executions whose results nobody can guess; what was made is in the world's book."""

    run_s = RUN_S

    async def execute(
        self, assignment: Assignment, stop: StopRequest, on_event: EventSink, lease: Lease | None = None
    ) -> Outcome:
        """Run for a while, and return a token of one's own."""
        world, task_id = self.world, assignment.task_id
        world.overlaps += [task_id] * (task_id in world.executing)
        world.executing.add(task_id)
        world.executions.append(task_id)
        token = f"{assignment.run_id}/{world.random.getrandbits(64):x}"
        try:
            async with asyncio.timeout(self.run_s):
                await stop.changed()
        except TimeoutError:
            world.finished.append(token)
            return Outcome(code=ResultCode.SUCCESS, value={"token": token})
        finally:
            world.executing.discard(task_id)
        error = RunError(kind=stop.kind or ErrorKind.INTERNAL, message="stopped", retryable=True)
        return Outcome(code=ResultCode.FAILED, error=error)


class Place(Machine):
    """A machine with a network of its own, that can be cut off, and such executions."""

    def __init__(self, world: World, name: str, run_s: float = RUN_S) -> None:
        """Be connected."""
        super().__init__(world, name, concurrency=1, poll_max_s=300.0)
        self.network = FaultyNetwork(world.server, world.random)
        self.run_s = run_s
        self.living: asyncio.Task[int] | None = None

    def executor_of(self, spool: VirtualSpool) -> Tokens:
        """Return such an executor."""
        executor = Tokens(self.world, self.life, spool, self.clock, self.name)
        executor.run_s = self.run_s
        return executor

    async def start(self) -> None:
        """Begin a life."""
        self.living = asyncio.create_task((await self.agent()).run())

    async def kill(self) -> None:
        """Kill -9."""
        assert self.living is not None
        self.life.is_over.set()
        self.living.cancel()
        await asyncio.gather(self.living, return_exceptions=True)


def play(world: World, scenario: Coroutine[Any, Any, None], *places: Place) -> None:
    """Play a scenario; all agents are dead afterwards."""

    async def main() -> None:
        await scenario
        for place in places:
            await place.kill()

    run_virtual(main())
    assert world.overlaps == []


def successes(world: World) -> list[Any]:
    """Return the tokens of the runs that the server shows as succeeded."""
    return [run["results"]["token"] for run in world.server.runs.values() if run["resultCode"] == "Success"]


async def run_into_outage(place: Place, outcome_s: float = RUN_S) -> None:
    """Let a run begin, the server go away, and so much of the run pass."""
    await place.start()
    await until(lambda: place.world.executing, 60.0)
    await asyncio.sleep(RUN_S / 2)
    place.network.is_down = True
    await asyncio.sleep(outcome_s - RUN_S / 2 + 1.0)


@pytest.mark.parametrize("is_agent_first", [True, False])
@pytest.mark.parametrize(("outage_s", "killed_at"), ALL_OUTAGES)
@pytest.mark.parametrize("server", SERVERS)
def test_one_correct_result_arrives_after_both_are_back(
    server: type[VirtualServer], outage_s: float, killed_at: float, is_agent_first: bool
) -> None:
    """The outcome is on disk; whoever returns first, the one run of the task shows the one token.

    With leases the run was given up meanwhile; its late result takes the placeholder back.
    """
    world = World(1, "key", 0.0, 1, server=server)
    place = Place(world, "pod/a")

    async def scenario() -> None:
        await run_into_outage(place)
        assert len(world.finished) == 1
        await asyncio.sleep(outage_s * killed_at)
        await place.kill()
        if is_agent_first:
            await asyncio.sleep(outage_s * 0.98 * (1 - killed_at))
            await place.start()
            await asyncio.sleep(outage_s * 0.02)
            place.network.is_down = False
        else:
            await asyncio.sleep(outage_s * (1 - killed_at))
            place.network.is_down = False
            await asyncio.sleep(60.0)
            await place.start()
        await until(lambda: not place.entries, DELIVERED_S)

    play(world, scenario(), place)
    assert world.executions == ["task-0"]
    assert successes(world) == world.finished
    assert [run["resultCode"] for run in world.server.runs_of("task-0")] == ["Success"]


@pytest.mark.parametrize(
    ("server", "outage_s"), [(VirtualServer, 6 * 3600.0), (LeasingServer, 900.0), (LeasingServer, 3600.0)]
)
def test_an_agent_that_lives_through_an_outage_delivers_by_itself(
    server: type[VirtualServer], outage_s: float
) -> None:
    """A week of patience is more than any of these."""
    world = World(1, "key", 0.0, 1, server=server)
    place = Place(world, "pod/a")

    async def scenario() -> None:
        await run_into_outage(place)
        await asyncio.sleep(outage_s)
        place.network.is_down = False
        await until(lambda: not place.entries, DELIVERED_S)

    play(world, scenario(), place)
    assert (world.executions, successes(world)) == (["task-0"], world.finished)


@pytest.mark.parametrize("seed", range(12))
def test_a_result_is_told_soon_after_the_return_however_long_the_outage_was(seed: int) -> None:
    """A server grants each run one more lease then, which may be shorter than the longest wait.

    The agent does nothing else: no run of it reports, and its polls may wait for five minutes.
    """
    world = World(seed, "key", 0.0, 1)
    place = Place(world, "pod/a")

    async def scenario() -> None:
        await run_into_outage(place)
        await asyncio.sleep(3600.0)
        place.network.is_down = False
        await until(lambda: not place.entries, TOLD_S)

    play(world, scenario(), place)
    assert (world.executions, successes(world)) == (["task-0"], world.finished)


@pytest.mark.parametrize("outage_s", [*OUTAGES_S, DAYS_S])
@pytest.mark.parametrize("server", SERVERS)
def test_a_run_whose_agent_died_before_its_end_is_made_up_for_by_one_more(
    server: type[VirtualServer], outage_s: float
) -> None:
    """Nothing of it is left to deliver: it ends as lost, and the second execution's token is the task's."""
    world = World(1, "key", 0.0, 1, server=server)
    place = Place(world, "pod/a")

    async def scenario() -> None:
        await run_into_outage(place, outcome_s=RUN_S * 0.75)
        await place.kill()
        await asyncio.sleep(outage_s)
        place.network.is_down = False
        await place.start()
        await until(lambda: world.status("task-0") == "Success", DELIVERED_S + 2 * RUN_S)
        await until(lambda: not place.entries, DELIVERED_S)

    play(world, scenario(), place)
    assert world.executions == ["task-0", "task-0"]
    assert len(world.finished) == 1
    assert successes(world) == world.finished
    errors = [(run.get("error") or "").partition(":")[0] for run in world.server.runs_of("task-0")]
    assert errors == ["worker_lost", "requeued", ""]


@pytest.mark.parametrize("is_over", [True, False])
@pytest.mark.parametrize("outage_s", OUTAGES_S)
def test_the_result_of_a_task_that_was_given_away_stays_on_its_machine(
    outage_s: float, is_over: bool
) -> None:
    """Only its agent is cut off: another one executes the task once more, and its result is what counts.

    The first one comes back when the second has ended, or still executes.
    """
    world = World(1, "key", 0.0, 1, server=LeasingServer)
    first = Place(world, "pod/a")
    second = Place(world, "pod/b", run_s=RUN_S if is_over else outage_s * 2)

    async def scenario() -> None:
        await run_into_outage(first)
        await first.kill()
        await asyncio.sleep(LEASE_S)
        await second.start()
        await until(lambda: world.executing, DELIVERED_S)
        await asyncio.sleep(outage_s)
        first.network.is_down = False
        await first.start()
        marks: list[tuple[str, ...]] = []

        def is_fenced() -> bool:
            marks[:] = [entry.marks for entry in first.entries.values()]
            return any("fenced" in mark for mark in marks)

        await until(is_fenced, DELIVERED_S)
        if not is_over:
            await asyncio.sleep(outage_s)
        await until(lambda: not second.entries, DELIVERED_S)

    play(world, scenario(), first, second)
    assert world.executions == ["task-0", "task-0"]
    assert successes(world) == [world.finished[1]]
    [kept] = first.entries.values()
    assert kept.terminal is not None
    assert kept.terminal["results"]["token"] == world.finished[0]
