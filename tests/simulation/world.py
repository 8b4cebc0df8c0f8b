"""What all simulated machines share: the server, its network, and a book of who executes what."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from tests.simulation.loop import VirtualClock
from tests.simulation.network import FaultyNetwork
from tests.simulation.server import Ids, VirtualServer
from tests.simulation.store import VirtualStore
from tests.simulation.watch import Watch

__all__ = ["LAG_S", "World", "until"]

LAG_S = 1.0


class World:
    """The server with its tasks, the network, the store, and what the executors write down."""

    def __init__(
        self,
        seed: int,
        ids: Ids,
        fault_ratio: float,
        tasks: int,
        *,
        parameters: dict[str, Any] | None = None,
        lag_s: float = 0.0,
        server: type[VirtualServer] = VirtualServer,
    ) -> None:
        """Fill the server with pending tasks."""
        self.random = Random(seed)
        self.limit_s = 7200.0  # until which all must be done
        self.clock = VirtualClock()
        self.server = server(self.clock, self.random, ids, lag_s)
        self.network = FaultyNetwork(self.server, self.random, fault_ratio)
        self.watch = Watch(self.server)
        self.network.on_served = self.watch.served
        self.executing: set[str] = set()
        self.on_stage: set[str] = set()  # runs whose execution has not ended, standing still or not
        self.overlaps: list[str] = []  # tasks that ran twice at once: never one
        self.executions: list[str] = []
        self.run_max_s = 30.0  # how long an execution takes at most
        self.short_ratio = 0.0  # of executions, that are over within moments
        self.most_on_stage = Counter[str]()  # executions at once, by machine
        self.is_deaf = False  # executions go on while this is so, and succeed, whatever they are told
        self.fails_once: set[str] = set()  # tasks whose first execution fails, and may be tried again
        self.fail_ratio = 0.0  # of executions, that may be tried again
        self.finished: list[str] = []
        self.files = 0  # that each run makes
        self.store = VirtualStore(self.random)
        self.later: list[str] = []  # tasks that are still to be made
        for at in range(tasks):
            self.server.add_task(f"task-{at}", parameters)

    def takes_s(self) -> float:
        """Return how long the next execution takes."""
        if self.short_ratio and self.random.random() < self.short_ratio:
            return self.random.uniform(0.001, 0.04)
        return self.random.uniform(0.1, self.run_max_s)

    def successes(self) -> list[str]:
        """Return the tasks of the runs that the server shows as succeeded."""
        return [run["taskId"] for run in self.server.runs.values() if run.get("resultCode") == "Success"]

    def stopped_on_stage(self) -> list[str]:
        """Return the runs that still have an execution, though the server has stopped them."""
        return [id_ for id_ in self.on_stage if (self.server.runs.get(id_) or {}).get("stoppedAt")]

    def status(self, task_id: str) -> Any:
        """Return the outcome of the most recent run of a task."""
        runs = self.server.runs_of(task_id)
        return runs[-1].get("resultCode") if runs else None


async def until(condition: Callable[[], Any], limit_s: float, every_s: float = 0.5) -> None:
    """Wait, in virtual time, until something holds; look at it every so often."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - any condition at all; the time is virtual
            await asyncio.sleep(every_s)
