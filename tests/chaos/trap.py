"""The trap of one round: waits for its step, kills and harms there, and mends what it killed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from random import Random
from typing import Final

from msgspec import Struct

from tests.chaos.book import Line
from tests.chaos.cells import Cell, Fault, Phase, Spot, Step, Victim, spot_of
from tests.chaos.chances import draw
from tests.chaos.http1 import Kind
from tests.chaos.journals import Written
from tests.chaos.processes import kill_all
from tests.chaos.proxy import Exchange
from tests.chaos.watcher import Watcher
from tests.chaos.world import World

__all__ = ["Kill", "Trap"]

HARMED: Final = frozenset({Kind.CLAIM, Kind.REQUEUE, Kind.PROGRESS, Kind.END})
OF_LINE: Final = {Step.STARTED: "begin", Step.OUTCOME: "return"}


class Kill(Struct, frozen=True):
    """Who was killed, and when."""

    at_ns: int
    victim: Victim
    agent: str


class Trap(Watcher):
    """Wait for the n-th time that one agent is at the cell's step, and that its victim is there."""

    def __init__(self, cell: Cell, rng: Random, it: World) -> None:
        """Draw when exactly, and for how long."""
        self._cell = cell
        self._world = it
        self._spot = spot_of(cell)
        self._seen: Counter[str] = Counter()
        self._claimants: dict[str, str] = {}  # who claimed a run first: the others lose, and have no run
        self._exchange: Exchange | None = None  # the request that is the step
        self._harming: list[Exchange] = []
        self.chances = draw(cell, rng)
        self._more = self.chances.harmed  # requests that are still to be harmed
        self._outcome_s = self.chances.outcome_s
        self._agent: str | None = None  # whom it hit
        self._is_harmed = False  # the fault was done where the cell wants it
        self._is_late_kill = False  # the step was over by then
        self.job_id: str | None = None  # of the round
        self.tasks: frozenset[str] = frozenset()
        self.is_armed = True
        self.kills: list[Kill] = []
        self.faults = 0

    @property
    def is_hit(self) -> bool:
        """Tell whether the kill happened at the step, and the fault where it belongs; sure at the end."""
        is_done = self._agent is not None and not self._is_late_kill
        return is_done and (self._is_harmed or self._cell.fault is Fault.NONE)

    @property
    def is_unfinished(self) -> bool:
        """Tell whether the kill happened, and the fault is still to be done to who comes back."""
        return self._agent is not None and not self._is_late_kill and not self.is_hit

    def disarm(self) -> None:
        """Do nothing more."""
        self.is_armed = False

    # what is seen

    async def on_exchange(self, exchange: Exchange, phase: str) -> None:
        """Look whether a request is the step, and harm it."""
        at = self._cell.step.on_wire
        if at is not None:
            if self._is_due and at[0] is exchange.kind and self._is_nth_request(exchange, phase):
                self._exchange = exchange
            if exchange is self._exchange and phase == at[1] and self._is_going_on(exchange):
                self._fire(exchange.agent)
        self._harm(exchange, phase)

    def _is_nth_request(self, exchange: Exchange, phase: str) -> bool:
        """Count requests when they are sent, polls when their answer holds tasks."""
        if phase != (Phase.TAKEN if exchange.kind is Kind.POLL else Phase.SENT):
            return False
        first = exchange.agent
        if exchange.kind is Kind.CLAIM:
            first = self._claimants.setdefault(exchange.run_id, exchange.agent)
        return first == exchange.agent and self._has_victim(first) and self._is_nth(first)

    def _is_going_on(self, exchange: Exchange) -> bool:
        """Tell whether an answer makes it a step: the claim is won, the handler is still at it."""
        if exchange.kind is Kind.PROGRESS and self._world.book.is_over(exchange.run_id):
            return False
        return not exchange.is_refused

    def over(self, exchange: Exchange) -> None:
        """Count what was harmed; what came to no answer was not the step."""
        if exchange in self._harming:
            self._harming.remove(exchange)
            self.faults += exchange.is_harmed
            self._more += not exchange.is_harmed
            is_there = self._spot is Spot.NEXT or exchange is self._exchange
            self._is_harmed = self._is_harmed or (exchange.is_harmed and is_there)
        if exchange is self._exchange and self._agent is None:
            self._more += self._is_harmed
            self._exchange = None
            self._is_harmed = False

    async def on_written(self, written: Written) -> None:
        """Fire where the step is in the journal."""
        step = Step.JOURNALLED if written.is_outcome else Step.INTENT
        is_step = self._is_due and step is self._cell.step and written.job_id == self.job_id
        if is_step and self._is_nth(written.agent):
            self._fire(written.agent)

    async def on_line(self, line: Line) -> None:
        """Fire where a child's own line is the step, unless that is over by now."""
        if not self._is_due or line.what != OF_LINE.get(self._cell.step) or line.task_id not in self.tasks:
            return
        if self._cell.step is Step.OUTCOME:
            await asyncio.sleep(self._outcome_s)
            self._outcome_s = 0.0  # where that is too late, the next one comes at once
            is_over = await self._world.is_journalled(line.agent, line.run_id, line.at_ns)
        else:
            is_over = self._world.book.is_over(line.run_id)
        if not is_over and self._is_nth(line.agent):
            self._fire(line.agent)
        if self._agent is not None and self._cell == (Victim.AGENT, Step.OUTCOME, self._cell.fault):
            self._is_late_kill = await self._world.is_journalled(
                line.agent, line.run_id, line.at_ns
            )  # since we looked

    def _is_nth(self, agent: str) -> bool:
        self._seen[agent] += 1
        return self._seen[agent] >= self.chances.nth

    @property
    def is_hasty(self) -> bool:
        """Tell whether it waits for a line that counts for some milliseconds."""
        return self._is_due and self._cell.step is Step.OUTCOME

    @property
    def _is_due(self) -> bool:
        return self.is_armed and self._agent is None and self._exchange is None

    # what is done

    def _fire(self, agent: str) -> None:
        """Kill who is to be killed; where there is none, the next time will do."""
        if not self.is_armed or self._agent is not None:
            return
        at_ns = time.monotonic_ns()
        if self._cell.victim is not Victim.NOBODY:
            if not self._kill(agent):
                return
            self.kills.append(Kill(at_ns, self._cell.victim, agent))
        self._agent = agent

    def _has_victim(self, agent: str) -> bool:
        """Tell whether who is to be killed is there: children and minders come with the first run."""
        of = self._world.agents[agent]
        if self._cell.victim is Victim.CHILD:
            return bool(of.children())
        return self._cell.victim is not Victim.MINDER or bool(of.minders())

    def _kill(self, agent: str) -> bool:
        of = self._world.agents[agent]
        if self._cell.victim is Victim.CHILD:
            return kill_all(of.children())
        if self._cell.victim is Victim.MINDER:
            return kill_all(of.minders())
        if self._cell.victim is Victim.SERVER:
            is_done = self._world.server.kill()
            self._world.later(self.chances.down_s, self._world.have_server)
            return is_done
        is_done = of.kill()
        self._world.later(self.chances.down_s, lambda: self._start(agent))
        return is_done

    async def _start(self, agent: str) -> None:
        if not self._world.agents[agent].life:
            self._world.agents[agent].start()

    def _harm(self, exchange: Exchange, phase: str) -> None:
        """Do the fault where the cell wants it, and to some more requests after it."""
        if not self.is_armed or self._more <= 0 or exchange in self._harming:
            return
        if exchange is self._exchange:
            at = self._cell.step.on_wire
            is_time = at is None or phase != at[1] or self._agent is not None
            is_there = is_time and phase == {Spot.REQUEST: Phase.SENT, Spot.ANSWER: Phase.TAKEN}.get(
                self._spot
            )
        else:
            is_there = self._is_next(exchange) and phase == self._next_phase
        if is_there:
            self._set(exchange, phase)

    @property
    def _next_phase(self) -> Phase:
        is_after = self._cell.fault is Fault.BAD_GATEWAY and self.chances.is_after
        return Phase.TAKEN if is_after else Phase.SENT

    def _is_next(self, exchange: Exchange) -> bool:
        """Tell whether a request comes after the step, from who was hit; a dead server hits all."""
        if self._agent is None or exchange.kind not in HARMED:
            return False
        is_of = self._cell.victim is Victim.SERVER or exchange.agent == self._agent
        return is_of and exchange.life == self._world.life_of(exchange.agent) > 0

    def _set(self, exchange: Exchange, phase: str) -> None:
        self._more -= 1
        self._harming.append(exchange)
        exchange.delay_s = self.chances.delay_s
        if phase == Phase.TAKEN:
            exchange.on_answer = self._cell.fault
        else:
            exchange.fault = self._cell.fault
