"""The agent's life: recover, then poll and start attempts while slots are free, then drain."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from worker.agent.attempt import Attempts
from worker.agent.drain import Drain
from worker.agent.job_states import JobStates
from worker.agent.poller import Poller
from worker.agent.recovery import Recovery
from worker.api.errors import ApiError
from worker.api.models import Task
from worker.reporting.delivery import Delivered, Delivery
from worker.reporting.journal import Journal, JournalError
from worker.reporting.records import Entry

__all__ = ["Supervisor"]

UNDELIVERED_MAX = 1_000  # outcomes on their way; more than that, and nothing new is claimed
IDLE_POLLS = 2  # empty polls after which `exit_when_idle` believes that there is nothing
log = structlog.get_logger()


class Supervisor:
    """Own every task of the event loop; nothing outlives `run`."""

    def __init__(
        self,
        *,
        poller: Poller,
        attempts: Attempts,
        delivery: Delivery,
        journal: Journal,
        jobs: JobStates,
        drain: Drain,
        slots: int,
        exit_when_idle: bool,
    ) -> None:
        """`slots` is how many runs may go on at once."""
        self._poller = poller
        self._attempts = attempts
        self._delivery = delivery
        self._journal = journal
        self._jobs = jobs
        self._drain = drain
        self._slots = slots
        self._exit_when_idle = exit_when_idle
        self._attempting: set[asyncio.Task[None]] = set()
        self._delivering: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()  # a slot or a delivery became free

    def deliver(self, entry: Entry) -> None:
        """Bring an outcome to the server beside everything else."""
        self._spawn(self._deliver(entry), self._delivering)

    async def run(self, recovery: Recovery) -> int:
        """Work until the drain is over; returns the exit code of the agent."""
        work = asyncio.create_task(self._work(recovery))
        watch = asyncio.create_task(self._jobs.run())
        drained = asyncio.create_task(self._drain.requested())
        try:
            await asyncio.wait({work, drained}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()  # idle; or a fault of ours, which must be seen
        finally:
            await cancel(work, drained)
            await self._finish()
            await cancel(watch)
        return 0

    async def _work(self, recovery: Recovery) -> None:
        """Recover what an earlier life left, then take tasks until there is nothing or it is cancelled."""
        await recovery.run()
        while not self._is_idle():
            await self._wait_until_free()
            free = self._slots - len(self._attempting)
            task = await self._next(free)
            if task is not None:
                self._spawn(self._attempt(task), self._attempting)

    async def _next(self, free: int) -> Task | None:
        """Return the next task to try; None where the agent may be idle and should look at itself."""
        if not self._exit_when_idle:
            return await self._poller.next(free)
        return await self._poller.next_or_none(free)

    def _is_idle(self) -> bool:
        if not self._exit_when_idle or self._attempting or self._delivering:
            return False
        return self._poller.idle_polls >= IDLE_POLLS

    async def _wait_until_free(self) -> None:
        """Wait for a slot, for room among the deliveries, and for a disk that takes the journal."""
        while len(self._attempting) >= self._slots or len(self._delivering) >= UNDELIVERED_MAX:
            self._changed.clear()
            await self._changed.wait()
        while not self._journal.is_healthy:
            await self._poller.pause()
            try:
                await self._journal.sync()
            except JournalError as error:
                log.error(
                    "journal.refused", error=str(error), hint="nothing is claimed until the disk has room"
                )

    async def _attempt(self, task: Task) -> None:
        try:
            await self._attempts.run(task)
        except JournalError as error:
            log.error("journal.refused", error=str(error), hint="nothing is claimed until the disk has room")
            await self._poller.pause()
        except ApiError as error:
            log.warning("claim.failed", task_id=task.id, error=str(error))
            await self._poller.pause(error.retry_after_s)
        finally:
            self._poller.leave(task.id)

    async def _deliver(self, entry: Entry) -> None:
        delivered = await self._delivery.deliver(entry)
        if delivered is not Delivered.ACCEPTED:
            log.error("outcome.kept", run_id=entry.run_id, task_id=entry.task_id, why=delivered.value)

    def _spawn(self, errand: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(errand)
        among.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            among.discard(done)
            self._changed.set()
            if not done.cancelled() and (error := done.exception()) is not None:
                log.error("agent.fault", exc_info=error)

        task.add_done_callback(ended)

    async def _finish(self) -> None:
        """Let attempts and deliveries end within what is left of the drain; the journal keeps the rest."""
        await self._settle(self._attempting, self._drain.left_s())
        await self._settle(self._delivering, self._drain.left_s())
        for entry in self._journal.entries.values():
            log.warning(
                "journal.open", run_id=entry.run_id, task_id=entry.task_id, hint="taken up at the next start"
            )

    async def _settle(self, tasks: set[asyncio.Task[None]], limit_s: float) -> None:
        if tasks:
            await asyncio.wait(set(tasks), timeout=limit_s)
        await cancel(*tasks)


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have cleaned up."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
