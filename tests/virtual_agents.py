"""Whole agents, unchanged, in a world of virtual time: its server, its network, and machines that die."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import httpx

from tests.unit.placement.machines import machine
from tests.unit.reporting.memory import MemoryDisk, MemoryIO
from tests.virtual import VirtualClock
from tests.virtual_server import FaultyNetwork, Ids, VirtualServer
from tests.virtual_store import MortalStore, VirtualSpool, VirtualStore
from worker.agent.assemble import Agent, Parts, assemble
from worker.agent.free_space import FreeSpace
from worker.agent.gpus import Gpus
from worker.agent.server_kind import ServerKind
from worker.api.client import JobsApi
from worker.api.connection import Connection
from worker.api.token import FixedToken
from worker.api.wire import ErrorKind, ResultCode
from worker.config import AgentConfig
from worker.executor.assignment import Assignment
from worker.executor.executor import EventSink, ProgressEvent, StopRequest
from worker.executor.lease import Lease
from worker.executor.outcome import Outcome, RunError
from worker.reporting.journal import Journal
from worker.reporting.records import Entry
from worker.storage.file import SpooledFile

LAG_S = 1.0


class World:
    """What all agents share: the server, its network, and a book of who executes what."""

    def __init__(
        self,
        seed: int,
        ids: Ids,
        fault_ratio: float,
        tasks: int,
        *,
        lag_s: float = 0.0,
        server: type[VirtualServer] = VirtualServer,
    ) -> None:
        """Fill the server with pending tasks."""
        self.random = Random(seed)
        self.limit_s = 7200.0  # until which all must be done
        self.clock = VirtualClock()
        self.server = server(self.clock, self.random, ids, lag_s)
        self.network = FaultyNetwork(self.server, self.random, fault_ratio)
        self.executing: set[str] = set()
        self.overlaps: list[str] = []  # tasks that ran twice at once: never one
        self.executions: list[str] = []
        self.run_max_s = 30.0  # how long an execution takes at most
        self.is_deaf = False  # executions go on while this is so, and succeed, whatever they are told
        self.fails_once: set[str] = set()  # tasks whose first execution fails, and may be tried again
        self.finished: list[str] = []
        self.files = 0  # that each run makes
        self.store = VirtualStore(self.random)
        for at in range(tasks):
            self.server.add_task(f"task-{at}")

    def successes(self) -> list[str]:
        """Return the tasks of the runs that the server shows as succeeded."""
        return [run["taskId"] for run in self.server.runs.values() if run.get("resultCode") == "Success"]

    def status(self, task_id: str) -> Any:
        """Return the outcome of the most recent run of a task."""
        runs = self.server.runs_of(task_id)
        return runs[-1].get("resultCode") if runs else None


class Life:
    """One life of an agent. After its end it reaches neither network nor disk: as after SIGKILL."""

    def __init__(self, dies_at: int | None = None) -> None:
        """Be alive; `dies_at` is the step that is not made any more."""
        self.is_over = asyncio.Event()
        self.steps = 0  # tries to reach something outside
        self._dies_at = dies_at

    async def check(self) -> None:
        """Go on only while alive; the dead wait for ever."""
        self.steps += 1
        if self.steps == self._dies_at:
            self.is_over.set()
        while self.is_over.is_set():  # noqa: ASYNC110 - nothing ever wakes the dead
            await asyncio.sleep(1e6)


class MortalTransport(httpx.AsyncBaseTransport):
    """The network as one life of an agent reaches it."""

    def __init__(self, network: FaultyNetwork, life: Life) -> None:
        """Lead to the network while the life lasts."""
        self.network, self.life = network, life

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry a request of the living."""
        await self.life.check()
        response = await self.network.handle_async_request(request)
        await self.life.check()
        return response


class MortalIO(MemoryIO):
    """The disk as one life of an agent reaches it."""

    def __init__(self, disk: MemoryDisk, life: Life) -> None:
        """Lead to the disk while the life lasts."""
        super().__init__(disk)
        self.life = life

    async def create(self, name: str) -> None:
        """Create for the living."""
        await self.life.check()
        await super().create(name)

    async def append(self, name: str, offset: int, block: bytes) -> None:
        """Write for the living."""
        await self.life.check()
        await super().append(name, offset, block)

    async def remove(self, name: str) -> None:
        """Remove for the living."""
        await self.life.check()
        await super().remove(name)


class Stage:
    """One execution on the world's stage, which it leaves while its lease is over."""

    def __init__(self, world: World, task_id: str, lease: Lease) -> None:
        """Enter."""
        self.world, self.task_id, self.lease = world, task_id, lease
        self.goes_on = asyncio.Event()
        self._has_left = False
        self._enter()

    async def follow_lease(self) -> None:
        """Stand still from the lease's end until an answer renews it."""
        while True:
            left_s = self.lease.freeze_mono - self.world.clock.mono()
            if left_s > 0:
                await asyncio.sleep(min(left_s, 1e6))
                continue
            self.goes_on.clear()
            self.world.executing.discard(self.task_id)
            while self.lease.freeze_mono <= self.world.clock.mono():  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(0.1)
            self._enter()

    def leave(self) -> None:
        """Be over."""
        if self.goes_on.is_set() and not self._has_left:
            self.world.executing.discard(self.task_id)
        self._has_left = True

    def _enter(self) -> None:
        if self.task_id in self.world.executing:
            self.world.overlaps.append(self.task_id)
        self.world.executing.add(self.task_id)
        self.goes_on.set()


class BookKeepingExecutor:
    """An executor that only takes time, and notes when two run one task at once."""

    def __init__(self, world: World, life: Life, spool: VirtualSpool) -> None:
        """Write into the world's book; keep files in a spool."""
        self.world, self.life, self.spool = world, life, spool

    async def execute(
        self, assignment: Assignment, stop: StopRequest, on_event: EventSink, lease: Lease | None = None
    ) -> Outcome:
        """Run for a while, or until stopped."""
        world, task_id = self.world, assignment.task_id
        stage = Stage(world, task_id, lease or Lease())
        world.executions.append(task_id)
        standing = asyncio.create_task(stage.follow_lease())
        try:
            if task_id in world.fails_once and world.executions.count(task_id) == 1:
                await asyncio.sleep(30.0)
                return Outcome(
                    files=await self.spool.take_made(assignment.run_id, world.files),
                    code=ResultCode.FAILED,
                    error=RunError(kind=ErrorKind.HANDLER_ERROR, message="once", retryable=True),
                )
            on_event(ProgressEvent(0.5))
            if world.is_deaf:
                await until(lambda: self.life.is_over.is_set() or not world.is_deaf, 1e6)
                raise TimeoutError  # it has come to its end
            async with asyncio.timeout(world.random.uniform(0.1, world.run_max_s)):
                await first(stop.changed(), self.life.is_over.wait())
            stage.leave()
            await self.life.check()
            kind = stop.kind or ErrorKind.INTERNAL
            return Outcome(
                code=ResultCode.FAILED, error=RunError(kind=kind, message="stopped", retryable=True)
            )
        except TimeoutError:
            await first(stage.goes_on.wait(), stop.changed())
            if not stage.goes_on.is_set():
                kind = stop.kind or ErrorKind.INTERNAL
                return Outcome(code=ResultCode.FAILED, error=RunError(kind=kind, message="stood still"))
            files = await self.spool.take_made(assignment.run_id, world.files)
            world.finished.append(task_id)
            return Outcome(code=ResultCode.SUCCESS, value={"task": task_id}, files=files)
        finally:
            standing.cancel()
            stage.leave()

    async def aclose(self) -> None:
        """Have nothing to end."""


class Machine:
    """One machine: its disk outlives its agents."""

    def __init__(self, world: World, name: str, **settings: Any) -> None:
        """Start with an empty disk."""
        self.world, self.name, self.disk = world, name, MemoryDisk()
        self.kind = ServerKind.UNKNOWN
        self.life = Life()
        self.spooled: dict[str, SpooledFile] = {}  # what its spool holds, by path
        self.space = FreeSpace([], 0)
        self.entries: Mapping[str, Entry] = {}  # what the living agent's journal holds
        usual = {"concurrency": 3, "poll_interval_s": 2.0, "poll_max_s": 5.0, "drain_timeout_s": 60.0}
        self.config = AgentConfig(state_dir=Path("/nowhere"), settle_s=LAG_S + 0.1, **(usual | settings))

    async def agent(self, dies_at: int | None = None) -> Agent:
        """Return an agent that is ready to work, on whatever an earlier one left.

        With `dies_at`, its life is over before that step.
        """
        self.life = Life(dies_at)
        journal = await Journal.open(MortalIO(self.disk, self.life), self.world.clock)
        spool = VirtualSpool(self.spooled, self.life.check, self.config.spool_bytes)
        spool.sweep(journal.entries)
        self.entries = journal.entries
        transport = MortalTransport(self.world.network, self.life)
        api = JobsApi(Connection(transport, "http://virtual", FixedToken("t")))

        def keep(kind: ServerKind) -> None:
            self.kind = kind

        parts = Parts(
            clock=self.world.clock, random=self.world.random, poll_api=api, claim_api=api, report_api=api,
            executor=BookKeepingExecutor(self.world, self.life, spool), journal=journal, pod_id=self.name,
            spool=spool, store=MortalStore(self.world.store, self.life.check),
            types=["noop"],
            facts=lambda: {"nodeCPUs": 2}, machine=dict, gpus=Gpus(machine(), self.config),
            kind=self.kind, on_kind=keep, space=self.space,
        )  # fmt: skip
        return assemble(parts, self.config)

    async def open_entries(self) -> list[Entry]:
        """Return what the journal on the disk holds, as the next agent would find it."""
        journal = await Journal.open(MemoryIO(self.disk), self.world.clock)
        return list(journal.entries.values())


async def first(*waits: Any) -> None:
    """Wait for the first of several things."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def until(condition: Any, limit_s: float) -> None:
    """Wait, in virtual time, until something holds."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - any condition at all; the time is virtual
            await asyncio.sleep(0.5)


async def work_off(world: World, machines: list[Machine]) -> None:
    """Let agents work until every task shows a success and all is told, then drain them."""
    agents = [await machine.agent() for machine in machines]
    lives = [asyncio.create_task(agent.run()) for agent in agents]

    def is_done() -> bool:
        entries = [entry for machine in machines for entry in machine.entries.values()]
        told = all("fenced" in entry.marks for entry in entries)
        return told and all(world.status(task) == "Success" for task in world.server.tasks)

    await until(is_done, world.limit_s)
    for agent in agents:
        agent.drain.request(ErrorKind.DRAINED, "the test is over")
    assert await asyncio.gather(*lives) == [0] * len(agents)
