"""An executor with a fault of ours: the run ends all the same, and its bill is what was seen of it."""

from __future__ import annotations

import asyncio

from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine
from tests.simulation.stage import BookKeepingExecutor
from tests.simulation.store import VirtualSpool
from tests.simulation.world import World, until
from worker.executor.assignment import Assignment
from worker.executor.executor import EventSink, StopRequest, UsageEvent
from worker.executor.lease import Lease
from worker.executor.outcome import Outcome
from worker.usage.usage import Usage

SEEN = Usage(wall_s=2.0, cpu_user_s=1.5, cpu_system_s=0.5, complete=True, methods={"cpu_user_s": "wait4"})


class Faulty(BookKeepingExecutor):
    """Tells what a run consumed, and breaks."""

    async def execute(
        self, assignment: Assignment, stop: StopRequest, on_event: EventSink, lease: Lease | None = None
    ) -> Outcome:
        """Break."""
        on_event(UsageEvent(SEEN))
        await asyncio.sleep(1.0)
        raise ZeroDivisionError("a fault")


class Place(Machine):
    """A machine with such an executor."""

    def executor_of(self, spool: VirtualSpool) -> Faulty:
        """Return one."""
        return Faulty(self.world, self.life, spool, self.clock, self.name)


def test_a_fault_of_the_executor_leaves_the_figures_that_were_seen() -> None:
    """Incomplete, and the fault is the reason; not that the run did not start."""
    world = World(1, "key", 0.0, 1)
    place = Place(world, "pod/a", concurrency=1)

    async def scenario() -> None:
        living = asyncio.create_task((await place.agent()).run())
        await until(lambda: world.status("task-0") == "Failed", 60.0)
        place.life.is_over.set()
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)

    run_virtual(scenario())
    [run] = world.server.runs_of("task-0")
    usage = run["results"]["usage"]
    assert (run["CPUTime"], usage["cpuUserSeconds"]) == (2.0, 1.5)
    assert not usage["complete"]
    assert "ZeroDivisionError: a fault" in usage["reasons"]["cpu_user_s"]
