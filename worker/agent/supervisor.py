"""The agent's life: recover, then poll and start attempts while slots are free, then drain."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import copy_context

import structlog

from worker.agent.attempt import Attempts
from worker.agent.bounded import within
from worker.agent.drain import Drain
from worker.agent.errands import Errands, cancel
from worker.agent.free_space import FreeSpace
from worker.agent.gpus.pool import Gpus
from worker.agent.holds import Holds, Watch
from worker.agent.job_states import JobStates
from worker.agent.offers import Offers
from worker.agent.outbox import Outbox
from worker.agent.places import Places
from worker.agent.poller import Poller
from worker.agent.recovery import KEPT, Recovery
from worker.agent.storing import Storing
from worker.agent.turns import Turns
from worker.api.errors import ApiError
from worker.api.models import Task
from worker.api.wire import ErrorKind
from worker.executor.executor import Executor
from worker.reporting.journal import Journal, JournalError

__all__ = ["TASKS", "Supervisor"]

TASKS = "tasks"  # the loop that takes them
NOT_NOW = "its agent takes no task just now"  # why one is given back that was claimed for an offer
LOOK_S = 30.0  # how long it waits for a change before it looks by itself
IDLE_POLLS = 2  # empty polls after which `exit_when_idle` believes that there is nothing
STORING_SHARE = 0.8  # of what is left of a drain, for files; the rest is for the last reports
CLOSE_S = 0.2  # at the end of a drain, to close the journal and the connections
log = structlog.get_logger()


class Supervisor:
    """Own every task of the event loop; nothing outlives `run`."""

    def __init__(
        self,
        *,
        poller: Poller,
        offers: Offers,
        attempts: Attempts,
        executor: Executor,
        outbox: Outbox,
        storing: Storing,
        space: FreeSpace,
        gpus: Gpus,
        journal: Journal,
        jobs: JobStates,
        drain: Drain,
        holds: Holds,
        watches: Sequence[Watch],
        turns: Turns,
        slots: int,
        places: Places,
        exit_when_idle: bool,
    ) -> None:
        """`slots` is how many runs may go on at once; `watches` go on until the agent has drained."""
        self._poller = poller
        self._offers = offers
        self._attempts = attempts
        self._executor = executor
        self._outbox = outbox
        self._storing = storing
        self._space = space
        self._gpus = gpus
        self._journal = journal
        self._jobs = jobs
        self._drain = drain
        self._holds = holds
        self._watches = watches
        self._watching = Errands()
        self._turns = turns
        self._slots = slots
        self._places = places
        self._exit_when_idle = exit_when_idle
        self.is_recovering = True  # until what an earlier life left is brought to its end
        self._changed = asyncio.Event()  # a slot became free, or an outcome was delivered
        self._attempting = Errands(self._tell_change)
        self._context = copy_context()  # in which no task is bound for the log
        self._over: set[str] = set()  # tasks among them that wait for the journal alone
        outbox.listen(self._tell_change)
        storing.listen(self._tell_change)
        space.listen(self._tell_change)
        holds.listen(self._tell_change)

    @property
    def busy(self) -> int:
        """How many slots have a task, be it only being claimed."""
        return min(self._under_way, self._slots)

    @property
    def may_claim(self) -> bool:
        """Tell whether a slot is free, or a claim may go ahead of one (`Places`)."""
        return self._under_way < self._slots + self._places.ahead

    @property
    def _under_way(self) -> int:
        """How many tasks are claimed or executed; more than slots where claims go ahead.

        The slot of a run that is over is free while its outcome is written: the next claim's intent goes into
        the same write, and its request is on the way while the disk syncs. The journal bounds how many are
        ahead: an intent that comes later waits for that sync, and no claim is sent before.
        """
        return len(self._attempting) - len(self._over)

    async def run(self, recovery: Recovery) -> int:
        """Work until the drain is over; returns the exit code of the agent."""
        gpus = asyncio.create_task(self._gpus.watch())  # the first, so that the work's first look finds it
        work = asyncio.create_task(self._work(recovery))
        watch = asyncio.create_task(self._jobs.run())
        space = asyncio.create_task(self._space.watch())
        drained = asyncio.create_task(self._drain.requested())
        for begin in self._watches:
            self._watching.start(begin(self._drain, self._holds))
        try:
            watches = {watch, space, gpus}
            await asyncio.wait({work, *watches, drained}, return_when=asyncio.FIRST_COMPLETED)
            for task in (work, *watches):
                if task.done():
                    task.result()  # idle; or a fault of ours, which must be seen
        finally:
            await cancel(work, space, drained)
            self._turns.note(TASKS, None)
            if self._attempting and not self._drain.is_requested:
                self._drain.request(ErrorKind.DRAINED, "the agent failed")
            await self._offers.withdraw()
            await self._finish()
            await self._watching.settle(0.0)
            await cancel(watch, gpus)
        return 0

    async def _work(self, recovery: Recovery) -> None:
        """Recover what an earlier life left, then take tasks until there is nothing or it is cancelled."""
        await recovery.run()
        self.is_recovering = False
        await self._space.look()
        await self._gpus.look()
        while not self._is_idle():
            await self._wait_until_free()
            free, is_ahead = self._slots + self._places.ahead - self._under_way, self.busy == self._slots
            task = await self._next(max(1, free))  # what was free may be taken since
            is_late = is_ahead and not self.may_claim  # a long run has begun
            if task is not None and (is_late or self._is_held()):  # the poll may have waited for long
                await self._offers.give_back(task, NOT_NOW)
                self._poller.leave(task.id)
            elif task is not None:
                self._attempting.start(self._attempt(task))

    async def _next(self, free: int) -> Task | None:
        """Return the next task to try; None where the agent may be idle and should look at itself."""
        if not self._exit_when_idle:
            return await self._poller.next(free)
        return await self._poller.next_or_none(free)

    def _is_idle(self) -> bool:
        if not self._exit_when_idle or self._attempting or self._outbox or self._storing:
            return False
        return self._poller.idle_polls >= IDLE_POLLS

    async def _wait_until_free(self) -> None:
        """Wait for a slot, for room in the outbox, the spool and on the disk, which takes the journal."""
        is_told = False
        while self._is_full():
            if self._storing.is_full and not is_told:
                is_told = True
                log.error("spool.full", error=self._storing.fullness(), hint="nothing is claimed until then")
            self._changed.clear()
            self._turns.note(TASKS, LOOK_S)
            await within(self._changed.wait(), LOOK_S)
        if not self._journal.is_healthy:
            await self._wait_for_journal()

    async def _wait_for_journal(self) -> None:
        """Wait until the journal can be written again; why it cannot is told once."""
        told = ""
        self._turns.note(TASKS, None)  # a disk that hangs is mended by no restart, and results wait in memory
        while not self._journal.is_healthy:
            await self._poller.pause()
            try:
                await self._journal.sync()
            except JournalError as error:
                if str(error) != told:
                    told = str(error)
                    self._tell_disk(error)
        log.info("journal.accepts", hint="tasks are claimed again")

    def _is_full(self) -> bool:
        is_busy = not self.may_claim or not self._poller.rooms.has_any
        return is_busy or self._outbox.is_full or self._storing.is_full or self._is_held()

    def _is_held(self) -> bool:
        return self._space.is_short or self._holds.is_held

    async def _attempt(self, task: Task) -> None:
        try:
            await self._attempts.run(task, lambda: self._free(task))
            self._poller.release()
        except JournalError as error:
            self._tell_disk(error)
            self._poller.hold()
        except ApiError as error:
            log.warning("claim.failed", task_id=task.id, error=str(error))
            self._poller.hold(error.retry_after_s)
        finally:
            self._over.discard(task.id)
            await self._offers.give_back(task, NOT_NOW)  # if it was not begun
            self._poller.leave(task.id)

    def _free(self, task: Task) -> None:
        """Have a slot free again before its attempt ends, unless the type has no more room until then."""
        if self._poller.rooms.has_room(task.type or ""):
            self._over.add(task.id)
            if not self._take_at_hand():
                self._changed.set()

    def _take_at_hand(self) -> bool:
        """Start a task of the last list at once, if there is one; tell whether it was started.

        So a slot that is busy again in the same moment wakes nobody who would only wait again. Its lines in
        the log name no other run, though it begins within one.
        """
        may_take = not self._drain.is_requested and not self._is_full() and self._journal.is_healthy
        task = self._poller.at_hand() if may_take else None
        if task is not None:
            self._context.run(self._attempting.start, self._attempt(task))
        return task is not None

    def _tell_disk(self, error: JournalError) -> None:
        hint = "nothing is claimed until the state directory can be written; `millhand doctor` looks closer"
        log.error("journal.refused", error=str(error), hint=hint)

    def _tell_change(self) -> None:
        """Have the work go on, where a slot is free; while none is, it would look in vain."""
        self._poller.rouse()
        if self.may_claim:
            self._changed.set()

    async def _finish(self) -> None:
        """Let attempts and deliveries end within what is left of the drain; the journal keeps the rest."""
        await self._settle(self._attempting)
        await self._settle(self._offers)  # what was given back is told with the last reports
        leaving = asyncio.create_task(self._executor.aclose())  # beside the last reports: it takes seconds
        await self._settle(self._storing, STORING_SHARE)
        await self._settle(self._outbox)
        await asyncio.wait({leaving}, timeout=self._patience_s())
        await cancel(leaving)  # who goes then is waited for by who closes the executor at last
        await self._journal.flush(CLOSE_S)  # who is killed from here on has nothing to deliver again
        for entry in self._journal.entries.values():
            is_kept = not KEPT.isdisjoint(entry.marks)
            hint = (
                "see `millhand journal`: it stays for a person" if is_kept else "the next start takes it up"
            )
            log.warning("journal.open", run_id=entry.run_id, marks=list(entry.marks), hint=hint)

    async def _settle(self, errands: Errands | Offers | Outbox | Storing, share: float = 1.0) -> None:
        """Let errands end in a share of what is left; when the end is brought nearer meanwhile, of less."""
        is_settled = False
        while not is_settled:
            settling = asyncio.create_task(errands.settle(self._patience_s() * share))
            nearer = asyncio.create_task(self._drain.nearer())
            await asyncio.wait({settling, nearer}, return_when=asyncio.FIRST_COMPLETED)
            is_settled = settling.done()
            await cancel(settling, nearer)

    def _patience_s(self) -> float:
        """Return what is left of the drain, but for what closing takes."""
        return max(0.0, self._drain.left_s() - CLOSE_S)
