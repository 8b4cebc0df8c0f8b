"""A machine whose agent drains in virtual time: handlers of some ways, servers of some moods."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, Final

import httpx
from msgspec import Struct, field

from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine, work_off
from tests.simulation.network import Carried, FaultyNetwork
from tests.simulation.server import VirtualServer
from tests.simulation.stage import BookKeepingExecutor
from tests.simulation.store import VirtualSpool
from tests.simulation.world import World, until
from worker.agent.assemble import Agent
from worker.api.wire import ErrorKind, ResultCode
from worker.executor.assignment import Assignment
from worker.executor.executor import CheckpointEvent, EventSink, ProgressEvent, StopRequest
from worker.executor.lease import Lease
from worker.executor.outcome import Outcome, RunError
from worker.reporting.records import Entry

__all__ = ["KILL_S", "Drained", "DrainingMachine", "Mood", "MoodyNetwork", "Way", "drain_one", "sigterm"]

KILL_S: Final = 0.4  # until a tree is dead and reaped
SLOW_S: Final = (0.8, 1.1)  # an answer of a slow server
AWAY_SHARE: Final = 0.4  # of a drain, for which a server is away that comes back
LOOK_S: Final = 4.0  # between the start of the last run and the drain: it has reported once


class Way(Enum):
    """What a handler does when it is told to stop."""

    ENDS = "ends by itself, in half of its time"
    CHECKPOINTS = "saves a token and raises"
    DEAF = "goes on until it is killed"
    QUICK = "succeeds after a second, if nobody stops it"


class Mood(Enum):
    """How the server is while an agent drains."""

    WELL = "well"
    SLOW = "answers after a second"
    BACK = "refuses at first, and comes back"
    SILENT = "is silent at first: what is asked then is never answered"
    AWAY = "away"


class MoodyNetwork(FaultyNetwork):
    """A network whose server has a mood."""

    is_slow = False  # from the start: the agent has met it
    is_silent = False

    async def carry(self, sender: str, request: httpx.Request) -> Carried:
        """Carry one request of a machine."""
        if self.is_silent:
            await asyncio.sleep(1e6)
        if self.is_slow:
            await asyncio.sleep(self.random.uniform(*SLOW_S))
        return await super().carry(sender, request)


class WayExecutor(BookKeepingExecutor):
    """Executions that follow one way when they are stopped; to kill one takes a moment."""

    way = Way.QUICK

    def __init__(self, *parts: Any) -> None:
        """Begin with nothing told."""
        super().__init__(*parts)
        self.kill_at: list[float] = []  # by when runs were told that they are killed
        self.resumes: list[Any] = []  # checkpoints that runs were given

    async def execute(
        self, assignment: Assignment, stop: StopRequest, on_event: EventSink, lease: Lease | None = None
    ) -> Outcome:
        """Run until stopped, then go the way."""
        self.world.executions.append(assignment.task_id)
        self.world.executing.add(assignment.task_id)
        self.resumes.append(assignment.resume)
        on_event(ProgressEvent(0.5))
        try:
            return await self._go(assignment.task_id, stop, on_event)
        finally:
            self.world.executing.discard(assignment.task_id)

    async def _go(self, task_id: str, stop: StopRequest, on_event: EventSink) -> Outcome:
        try:
            async with asyncio.timeout(1.0 if self.way is Way.QUICK else None):
                await stop.changed()
        except TimeoutError:
            return self._success(task_id)
        self._hear(stop)
        if self.way is Way.CHECKPOINTS:
            on_event(CheckpointEvent({"at": 1}))
            await self._within(stop, min(0.5, (stop.grace_s or 0.0) / 2))
            return stopped(stop, {"at": 2})
        if self.way is Way.DEAF:
            on_event(CheckpointEvent({"at": 1}))
        elif await self._within(stop, (stop.grace_s or 0.0) / 2):
            return self._success(task_id)
        await self._within(stop, 1e6)
        await asyncio.sleep(KILL_S)
        return stopped(stop, {"at": 1} if self.way is Way.DEAF else None)

    async def _within(self, stop: StopRequest, wish_s: float) -> bool:
        """Go on for as long as wished, or until killed; tell whether there was time."""
        ends_at = asyncio.get_running_loop().time() + wish_s
        while (grace_s := stop.grace_s or 0.0) > 0:
            left_s = ends_at - asyncio.get_running_loop().time()
            if left_s <= 0:
                return True
            try:
                async with asyncio.timeout(min(grace_s, left_s)):
                    await stop.changed()
                    self._hear(stop)
            except TimeoutError:
                continue
        return ends_at <= asyncio.get_running_loop().time()

    def _hear(self, stop: StopRequest) -> None:
        self.kill_at.append(asyncio.get_running_loop().time() + (stop.grace_s or 0.0))

    def _success(self, task_id: str) -> Outcome:
        self.world.finished.append(task_id)
        return Outcome(code=ResultCode.SUCCESS, value={"task": task_id})


def stopped(stop: StopRequest, checkpoint: Any) -> Outcome:
    """Return the outcome of a run that was stopped."""
    error = RunError(kind=stop.kind or ErrorKind.INTERNAL, message=stop.message, retryable=True)
    return Outcome(code=ResultCode.FAILED, error=error, checkpoint=checkpoint)


class DrainingMachine(Machine):
    """A machine whose executions follow a way."""

    way = Way.QUICK
    notice_s: float | None = None  # the machine is taken away; else it is SIGTERM that begins the drain
    executor: WayExecutor

    def executor_of(self, spool: VirtualSpool) -> WayExecutor:
        """Return such an executor."""
        self.executor = WayExecutor(self.world, self.life, spool, self.clock, self.name)
        self.executor.way = self.way
        return self.executor


class Drained(Struct, kw_only=True):
    """What was seen of one drain."""

    world: World
    machine: DrainingMachine
    code: int = -1
    began_at: float = 0.0  # the first SIGTERM
    took_s: float = 0.0
    shown: list[dict[str, Any]] = field(default_factory=list)  # the started runs, when the agent had ended
    is_pending: bool = False  # all tasks were, then
    kept: list[Entry] = field(default_factory=list)  # in the journal, then
    resumes: list[Any] = field(default_factory=list)  # given to later runs

    def started(self) -> list[dict[str, Any]]:
        """Return the runs that the server shows as started, now."""
        return [dict(run) for run in self.world.server.runs.values() if run["startedAt"]]

    def ends(self) -> set[tuple[str | None, str]]:
        """Return how the runs had ended when the agent had: result and kind of error."""
        return {(run.get("resultCode"), (run.get("error") or "").partition(":")[0]) for run in self.shown}


Watch = Callable[[Agent, Drained], Awaitable[None]]


def sigterm(agent: Agent) -> None:
    """Send SIGTERM."""
    agent.drain.request(ErrorKind.DRAINED, "SIGTERM received")


def drain_one(
    timeout_s: float,
    way: Way,
    mood: Mood = Mood.WELL,
    *,
    slots: int = 1,
    watch: Watch | None = None,
    goes_on: bool = False,
    server: type[VirtualServer] = VirtualServer,
    notice_s: float | None = None,
) -> Drained:
    """Let an agent run `slots` tasks, drain it, and see; `watch` does more beside the drain.

    With `notice_s`, it is a cloud's notice that begins the drain, whatever time is configured. With
    `goes_on`, the server is well then, and another life of the agent works all off.
    """
    world = World(1, "key", 0.0, slots, server=server)
    machine = DrainingMachine(world, "pod/a", concurrency=slots, drain_timeout_s=timeout_s)
    machine.way, machine.notice_s = way, notice_s
    return run_virtual(scenario(machine, mood, watch, goes_on=goes_on))


async def scenario(machine: DrainingMachine, mood: Mood, watch: Watch | None, *, goes_on: bool) -> Drained:
    """Play one drain."""
    world, timeout_s = machine.world, machine.config.drain_timeout_s
    network = machine.network = MoodyNetwork(world.server, world.random)
    network.is_slow = mood is Mood.SLOW
    seen = Drained(world=world, machine=machine)
    agent = await machine.agent()
    life = asyncio.create_task(agent.run())
    await until(lambda: len(world.executing) == machine.config.concurrency, 60.0)
    await asyncio.sleep(LOOK_S)
    network.is_down, network.is_silent = mood in (Mood.BACK, Mood.AWAY), mood is Mood.SILENT
    seen.began_at = world.clock.mono()
    if machine.notice_s is None:
        sigterm(agent)
    else:
        timeout_s = machine.notice_s
        agent.drain.request(ErrorKind.PREEMPTED, "it is taken", timeout_s)
    beside = [asyncio.create_task(coming_back(network, timeout_s))] if mood is not Mood.AWAY else []
    if watch is not None:
        beside.append(asyncio.ensure_future(watch(agent, seen)))
    seen.code = await life
    seen.took_s = world.clock.mono() - seen.began_at
    machine.life.is_over.set()
    seen.shown, seen.kept = seen.started(), await machine.open_entries()
    seen.is_pending = len(world.server.pending()) == len(world.server.tasks)
    await asyncio.gather(*beside)
    if goes_on:
        network.is_down, machine.way = False, Way.QUICK
        await work_off(world, [machine])
        seen.resumes = machine.executor.resumes
    return seen


async def coming_back(network: MoodyNetwork, timeout_s: float) -> None:
    """Let a server that is away be back in a part of the drain."""
    await asyncio.sleep(timeout_s * AWAY_SHARE)
    network.is_down = network.is_silent = False
