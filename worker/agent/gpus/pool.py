"""Which GPUs are free and well, and which run has which."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import StrEnum

import structlog
from msgspec import Struct, structs

from worker.agent.errands import cancel
from worker.agent.gpus.health import ailment, fatal_event
from worker.agent.gpus.quarantine import Quarantine, verdict_of
from worker.agent.placement import gpu_count, suitable_gpus, unmet, with_gpus
from worker.api.models import Task
from worker.clock import Clock, SystemClock
from worker.config import AgentConfig
from worker.executor.outcome import Outcome
from worker.machine.facts import Fact, Facts, Gpu
from worker.machine.gpu_look import Look
from worker.machine.gpu_watch import GpuWatch
from worker.usage.gpu_meter import owner_below

__all__ = ["GpuCondition", "GpuState", "Gpus", "found_gpus"]

FIND_PAUSE_S = 2.0  # before GPUs that were not known are asked for again, doubled each time
FIND_PAUSE_MAX_S = 60.0
LOOK_LIMIT_S = 2.0  # of the look before a claim: a GPU that takes longer to answer is not well
log = structlog.get_logger()


class GpuCondition(StrEnum):
    """Whether a GPU may be given to a run, in one word."""

    FIT = "fit"
    UNKNOWN = "unknown"  # NVML does not answer
    UNFIT = "unfit"  # something ails it, or others use it
    QUARANTINED = "quarantined"  # task after task failed on it at once


class GpuState(Struct, frozen=True, kw_only=True):
    """How one GPU stands now."""

    uuid: str
    name: str
    condition: GpuCondition
    reason: str | None  # why it is given to no run; None where it is fit
    quarantine_left_s: float | None  # None where it is not in quarantine; 0 while a run tries it
    free: int  # to how many more runs it could be given, were it fit


class Gpus:
    """The GPUs of this machine. A task gets as many as it requires; one that requires none sees none.

    A GPU goes to one run at a time, or to as many as are configured. One that is not well goes to none.
    """

    def __init__(
        self,
        facts: Facts,
        config: AgentConfig,
        watch: GpuWatch | None = None,
        *,
        clock: Clock | None = None,
        find: Callable[[], Mapping[str, Fact]] | None = None,
        on_found: Callable[[Mapping[str, Fact]], None] = lambda found: None,
        on_quarantine: Callable[[Mapping[str, datetime]], None] = lambda until: None,
        handlers: Mapping[str, int] | None = None,
    ) -> None:
        """All are free.

        Args:
            facts: what the machine is.
            config: how GPUs are given away.
            watch: tells how they are; without one all are taken for well.
            clock: for quarantines.
            find: asks again for the facts of the GPUs, where they are unknown; it may block.
            on_found: told those facts.
            on_quarantine: told until when each GPU is shut, when that changes.
            handlers: how many GPUs the handlers of types want, for tasks that say nothing of GPUs.
        """
        self.facts = facts
        self._labels = config.labels
        self._handlers = dict(handlers or {})
        self._is_shared = config.gpu_shared
        self._watch = watch
        self._find = find
        self._on_found = on_found
        self._runs_per_gpu = config.gpu_runs
        self._free: dict[str, int] = {}
        self._ailments: dict[str, str | None] = {}  # as of the newest look
        self._fatal: dict[str, str] = {}  # critical events: the helper that looks may be a new one
        self.shares: dict[str, float] = {}  # of a whole GPU, by UUID
        self._add_found()
        self._quarantine = Quarantine(clock or SystemClock(), config.gpu_quarantine_s, on_quarantine)
        if watch is not None:
            watch.listen(self._take_look)

    async def watch(self) -> None:
        """Look at the GPUs until cancelled, where there are any, or come to be known."""
        if self._watch is not None and self.facts.gpus.state == "unknown":
            asking = asyncio.create_task(self._watch.run())
            try:
                await self._find_all(self._watch)
            finally:
                await cancel(asking)
        if self._watch is not None and self._free:
            await self._watch.run()
        await asyncio.Event().wait()

    async def look(self) -> None:
        """Have a first look, so that the first poll knows."""
        if self._watch is not None and self._free:
            await self._watch.look_now(LOOK_LIMIT_S)

    async def _find_all(self, watch: GpuWatch) -> None:
        """Ask for GPUs that are not known until they are: the driver may hang, or be loaded after us."""
        pause_s = FIND_PAUSE_S
        while self._find is not None and self.facts.gpus.state == "unknown":
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, FIND_PAUSE_MAX_S)
            if await watch.look_now(LOOK_LIMIT_S) is None:
                continue  # `find` would only hang, too
            found = await asyncio.to_thread(self._find)
            self.facts = structs.replace(self.facts, **found)
            self._on_found(found)
            self._add_found()
            if self._free:
                log.info("gpu.found", gpus=list(self._free))

    def _add_found(self) -> None:
        for gpu in found_gpus(self.facts):
            self._free[gpu.uuid] = self._runs_per_gpu
            self._ailments[gpu.uuid] = None
            self.shares[gpu.uuid] = gpu.share

    def unmet(self, task: Task) -> tuple[str, ...]:
        """Return what the machine lacks for a task, now."""
        requires = self._requires(task)
        reasons = unmet(requires, self.facts, self._labels)
        if reasons or self._suitable(requires) is not None:
            return reasons
        suitable = [gpu.uuid for gpu in suitable_gpus(requires, self.facts)]
        return (
            f"needs {gpu_count(requires)} GPU(s) of a kind of which fewer are free now",
            *(f"{uuid}: {reason}" for uuid in suitable if (reason := self.trouble(uuid)) is not None),
        )

    def take(self, task: Task) -> tuple[str, ...] | None:
        """Give a task the GPUs that it requires, by UUID; None where they are not free any more."""
        taken = self._suitable(self._requires(task))
        for uuid in taken or ():
            self._free[uuid] -= 1
        self._quarantine.begin(taken or (), task.id)
        return taken

    async def are_well(self, uuids: Iterable[str]) -> bool:
        """Look, right before a claim, whether GPUs are as they were; log why not."""
        uuids = tuple(uuids)
        if not uuids or self._watch is None:
            return True
        is_seen = await self._watch.look_now(LOOK_LIMIT_S) is not None
        for uuid in uuids:
            error = None if is_seen else self._watch.error or f"NVML took more than {LOOK_LIMIT_S:g} s"
            if (reason := error or self._ailments[uuid]) is not None:
                log.warning("claim.gpu_unfit", gpu=uuid, reason=reason)
                return False
        return True

    def judge(self, task_id: str, uuids: Iterable[str], outcome: Outcome) -> None:
        """Learn from the end of a run."""
        self._quarantine.end(uuids, task_id, verdict_of(outcome))

    def give_back(self, task_id: str, uuids: Iterable[str]) -> None:
        """Have the GPUs of a run that ended, or never began, free again."""
        uuids = tuple(uuids)
        for uuid in uuids:
            self._free[uuid] += 1
        self._quarantine.end(uuids, task_id, None)

    def trouble(self, uuid: str) -> str | None:
        """Return why a GPU is given to no run now, beside those that have it; None where it is well."""
        if self._watch is not None and self._watch.error is not None:
            return f"its state is not known: {self._watch.error}"
        return self._ailments[uuid] or self._quarantine.reason(uuid)

    def states(self) -> tuple[GpuState, ...]:
        """Return how each GPU stands; none where they are not known, which `facts.gpus` says."""
        return tuple(
            GpuState(
                uuid=gpu.uuid,
                name=gpu.name,
                condition=self._condition(gpu.uuid),
                reason=self.trouble(gpu.uuid),
                quarantine_left_s=self._quarantine.left_s(gpu.uuid),
                free=self._free[gpu.uuid],
            )
            for gpu in found_gpus(self.facts)
        )

    def _condition(self, uuid: str) -> GpuCondition:
        if self._watch is not None and self._watch.error is not None:
            return GpuCondition.UNKNOWN
        if self._ailments[uuid] is not None:
            return GpuCondition.UNFIT
        is_shut = self._quarantine.reason(uuid) is not None
        return GpuCondition.QUARANTINED if is_shut else GpuCondition.FIT

    def are_wanted_by(self, type_: str) -> bool:
        """Tell whether a task of a type gets GPUs that says nothing of them."""
        return bool(self._handlers.get(type_))

    def _requires(self, task: Task) -> object:
        """Return what a task requires; where it says nothing of GPUs, its handler's word counts."""
        return with_gpus(task.parameters.get("requires"), self._handlers.get(task.type or ""))

    def _suitable(self, requires: object) -> tuple[str, ...] | None:
        """Return GPUs for a task: those with the most room first, those that must prove themselves last."""
        wanted = gpu_count(requires)
        if not wanted:
            return ()
        free = [
            gpu.uuid
            for gpu in suitable_gpus(requires, self.facts)
            if self._free[gpu.uuid] > 0 and self.trouble(gpu.uuid) is None
        ]
        free.sort(key=lambda uuid: (self._quarantine.is_doubted(uuid), -self._free[uuid]))
        return tuple(free[:wanted]) if len(free) >= wanted else None

    def _take_look(self, look: Look) -> None:
        """Note what ails each GPU; log it when it changes."""
        owner = owner_below(os.getpid())
        for uuid, before in self._ailments.items():
            device = look.of(uuid)
            if (event := fatal_event(device)) is not None:
                self._fatal.setdefault(uuid, event)
            now = ailment(device, owner, is_shared=self._is_shared) or self._fatal.get(uuid)
            self._ailments[uuid] = now
            if now is not None and now != before:
                log.warning("gpu.unfit", gpu=uuid, reason=now, hint="it is given to no further run")
            elif now is None and before is not None:
                log.info("gpu.fit", gpu=uuid)


def found_gpus(facts: Facts) -> tuple[Gpu, ...]:
    """Return the GPUs that are known to be there."""
    return tuple(facts.gpus.value or ()) if facts.gpus.state == "measured" else ()
