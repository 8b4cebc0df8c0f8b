"""The trap of one round: waits for its step, kills and harms there, and mends what it killed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from random import Random
from typing import Final

from msgspec import Struct

from tests.chaos.book import Line
from tests.chaos.cells import SENDING, Cell, Fault, Phase, Step, Victim
from tests.chaos.http1 import Kind
from tests.chaos.journals import Written
from tests.chaos.processes import LEASE_S
from tests.chaos.proxy import Exchange
from tests.chaos.world import Watcher, World

__all__ = ["Kill", "Trap"]

DOWN_S: Final = (0.0, 0.0, 0.7, LEASE_S + 1.0)  # how long who was killed stays dead
DELAY_S: Final = (0.2, 1.0, LEASE_S + 1.0)  # the last one is beyond the agent's own patience, too
CUT_S: Final = (0.5, LEASE_S + 2.5)
OUTCOME_S: Final = 0.03  # about what the outcome takes from the child to the agent
EXECUTING: Final = frozenset({Step.STARTED, Step.PROGRESS})
LONG_SHARE: Final = 0.3  # of the rounds, at a step at which the run still has its whole time before it
HARMED: Final = frozenset({Kind.CLAIM, Kind.REQUEUE, Kind.PROGRESS, Kind.END})
OF_LINE: Final = {Step.STARTED: "begin", Step.OUTCOME: "return"}
WARM: Final = frozenset({Step.POLLED, Step.INTENT, Step.CLAIM_SENT, Step.CLAIM_TAKEN, Step.CLAIM_ANSWERED})
SELDOM: Final = frozenset({Step.REQUEUE_SENT, Step.REQUEUE_TAKEN, Step.REQUEUE_ANSWERED})
ON_ANSWER: Final = frozenset({Fault.DROP_ANSWER, Fault.BAD_GATEWAY, Fault.CUT})


class Kill(Struct, frozen=True):
    """Who was killed, and when."""

    at_ns: int
    victim: Victim
    agent: str


class Trap(Watcher):
    """Wait for the n-th time that one agent is at the cell's step."""

    def __init__(self, cell: Cell, rng: Random, it: World) -> None:
        """Draw when exactly, and for how long."""
        self._cell = cell
        self._world = it
        self._seen: Counter[str] = Counter()
        self._exchange: Exchange | None = None
        is_cut = cell.fault is Fault.CUT
        self._down_s = rng.choice(DOWN_S)
        self._delay_s = rng.choice(CUT_S if is_cut else DELAY_S)
        self.is_long = cell.step in EXECUTING and (is_cut or rng.random() < LONG_SHARE)
        self._outcome_s = rng.uniform(0.0, OUTCOME_S)
        more = 1 if is_cut else rng.choice((1, 1, 2, 3))
        self._more = 0 if cell.fault is Fault.NONE else more  # requests to be harmed
        self._nth = self._draw_nth(rng)
        self._agent: str | None = None  # whom it hit
        self.job_id: str | None = None  # of the round
        self.tasks: frozenset[str] = frozenset()
        self.is_armed = True
        self.is_hit = False
        self.kills: list[Kill] = []
        self.faults = 0

    def _draw_nth(self, rng: Random) -> int:
        """Return which time it is: a child is there from the second claim on, some steps come only once."""
        if self._cell.victim in (Victim.CHILD, Victim.MINDER) and self._cell.step in WARM:
            return 2
        return 1 if self._cell.step in SELDOM or self.is_long else rng.choice((1, 1, 2))

    def disarm(self) -> None:
        """Do nothing more."""
        self.is_armed = False
        self._more = 0

    # what is seen

    async def on_exchange(self, exchange: Exchange, phase: str) -> None:
        """Look whether a request is the step, and harm it."""
        at = self._cell.step.on_wire
        if exchange is self._exchange and exchange.is_refused and self._agent is None:
            self._exchange = None
            self._seen[exchange.agent] -= 1
        if self._is_due and at is not None and at[0] is exchange.kind:
            await self._on_wire(exchange, phase, at[1])
        elif exchange is self._exchange and at is not None and phase == at[1]:
            await self._fire(exchange.agent)
        self._harm(exchange, phase)

    async def _on_wire(self, exchange: Exchange, phase: str, wanted: Phase) -> None:
        """Count requests when they are sent, polls when their answer holds tasks."""
        if phase != (Phase.TAKEN if exchange.kind is Kind.POLL else Phase.SENT):
            return
        if self._is_nth(exchange.agent):
            self._exchange = exchange
            if phase == wanted:
                await self._fire(exchange.agent)

    async def on_written(self, written: Written) -> None:
        """Fire where the step is in the journal."""
        step = Step.JOURNALLED if written.is_outcome else Step.INTENT
        if self._is_due and step is self._cell.step and written.job_id == self.job_id:
            await self._count(written.agent)

    async def on_line(self, line: Line) -> None:
        """Fire where a child's own line is the step."""
        if self._is_due and line.what == OF_LINE.get(self._cell.step) and line.task_id in self.tasks:
            if self._cell.step is Step.OUTCOME:
                await asyncio.sleep(self._outcome_s)
            await self._count(line.agent)

    async def _count(self, agent: str) -> None:
        if self._is_nth(agent):
            await self._fire(agent)

    def _is_nth(self, agent: str) -> bool:
        self._seen[agent] += 1
        return self._seen[agent] == self._nth

    @property
    def _is_due(self) -> bool:
        return self.is_armed and self._agent is None and self._exchange is None

    # what is done

    async def _fire(self, agent: str) -> None:
        """Kill who is to be killed."""
        if not self.is_armed or self._agent is not None:
            return
        self._agent = agent
        if self._cell.victim is Victim.NOBODY:
            self.is_hit = True
            return
        at_ns = time.monotonic_ns()
        if self._kill(agent):
            self.is_hit = True
            self.kills.append(Kill(at_ns, self._cell.victim, agent))

    def _kill(self, agent: str) -> bool:
        of = self._world.agents[agent]
        if self._cell.victim is Victim.AGENT:
            is_done = of.kill()
            self._world.later(self._down_s, lambda: self._start(agent))
            return is_done
        if self._cell.victim is Victim.SERVER:
            is_done = self._world.server.kill()
            self._world.later(self._down_s, self._world.have_server)
            return is_done
        return of.kill_children() if self._cell.victim is Victim.CHILD else of.kill_minder()

    async def _start(self, agent: str) -> None:
        if not self._world.agents[agent].life:
            self._world.agents[agent].start()

    def _harm(self, exchange: Exchange, phase: str) -> None:
        """Do the fault to the request that is the step where that can be, and to some more after it."""
        if not self.is_armed or self._more <= 0:
            return
        fault, at = self._cell.fault, self._cell.step.on_wire
        if exchange is self._exchange and at is not None:
            if phase == Phase.SENT and (at[1] is Phase.SENT or fault in SENDING):
                self._set(exchange, fault)
            elif phase == Phase.TAKEN == at[1] and fault in ON_ANSWER:
                self._set(exchange, fault, is_on_answer=True)
        elif phase == Phase.SENT and self._agent is not None and exchange.kind in HARMED:
            self._set(exchange, fault)

    def _set(self, exchange: Exchange, fault: Fault, *, is_on_answer: bool = False) -> None:
        self._more -= 1
        self.faults += 1
        exchange.delay_s = self._delay_s
        if is_on_answer or fault is Fault.DROP_ANSWER:
            exchange.on_answer = fault
        else:
            exchange.fault = fault
