"""Executions that only take time, on a stage where two of one task are seen at once."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.simulation.life import Life
from tests.simulation.loop import VirtualClock
from tests.simulation.store import VirtualSpool
from tests.simulation.world import World, until
from worker.api.wire import ErrorKind, ResultCode
from worker.executor.assignment import Assignment
from worker.executor.executor import EventSink, ProgressEvent, StopRequest
from worker.executor.lease import Lease
from worker.executor.outcome import Outcome, RunError

__all__ = ["BookKeepingExecutor", "Stage"]


class Stage:
    """One execution on the world's stage, which it leaves while its lease is over."""

    def __init__(self, world: World, task_id: str, lease: Lease, clock: VirtualClock) -> None:
        """Enter; `clock` is the machine's own, by which its minder knows the lease."""
        self.world, self.task_id, self.lease, self.clock = world, task_id, lease, clock
        self.goes_on = asyncio.Event()
        self._renewed = asyncio.Event()
        lease.on_renewed = self._renewed.set
        self._has_left = False
        self._enter()

    async def follow_lease(self) -> None:
        """Stand still from the lease's end until an answer renews it."""
        while True:
            left_s = self.lease.freeze_mono - self.clock.mono()
            if left_s > 0:
                await asyncio.sleep(min(left_s, 1e6))
                continue
            self.goes_on.clear()
            self.world.executing.discard(self.task_id)
            while self.lease.freeze_mono <= self.clock.mono():
                self._renewed.clear()
                await self._renewed.wait()
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

    def __init__(
        self, world: World, life: Life, spool: VirtualSpool, clock: VirtualClock, machine: str
    ) -> None:
        """Write into the world's book; keep files in a spool."""
        self.world, self.life, self.spool, self.clock, self.machine = world, life, spool, clock, machine
        self._going = 0

    async def execute(
        self, assignment: Assignment, stop: StopRequest, on_event: EventSink, lease: Lease | None = None
    ) -> Outcome:
        """Run for a while, or until stopped."""
        world, task_id = self.world, assignment.task_id
        world.watch.started(assignment.run_id, self.machine)
        stage = Stage(world, task_id, lease or Lease(), self.clock)
        world.executions.append(task_id)
        world.on_stage.add(assignment.run_id)
        self._going += 1
        world.most_on_stage[self.machine] = max(world.most_on_stage[self.machine], self._going)
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
            async with asyncio.timeout(world.takes_s()):
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
            if world.fail_ratio and world.random.random() < world.fail_ratio:
                error = RunError(kind=ErrorKind.HANDLER_ERROR, message="now and then", retryable=True)
                return Outcome(code=ResultCode.FAILED, error=error, files=files)
            world.finished.append(task_id)
            return Outcome(code=ResultCode.SUCCESS, value={"task": task_id}, files=files)
        finally:
            self._going -= 1
            standing.cancel()
            stage.leave()
            world.on_stage.discard(assignment.run_id)

    async def aclose(self) -> None:
        """Have nothing to end."""


async def first(*waits: Any) -> None:
    """Wait for the first of several things."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
