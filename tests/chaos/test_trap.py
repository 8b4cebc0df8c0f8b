"""A trap goes off where its cell says, and a cell is hit only where kill and fault really happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, cast

import msgspec
import pytest

from tests.chaos.book import Line
from tests.chaos.cells import Cell, Fault, Victim
from tests.chaos.http1 import Message, kind_of
from tests.chaos.journals import Written
from tests.chaos.proxy import Exchange
from tests.chaos.trap import Trap

PHASES = ("sent", "taken", "answered")


class FakeAgent:
    """One that is there until it is killed."""

    def __init__(self) -> None:
        self.life = 1

    def kill(self) -> bool:
        """Die once."""
        was, self.life = self.life, 0
        return bool(was)

    def children(self) -> list[Any]:
        """Return none: the first run has not begun."""
        return []

    def minders(self) -> list[Any]:
        """Return none."""
        return []


class FakeWorld:
    """As much of a world as a trap sees."""

    def __init__(self) -> None:
        self.agents = {"a": FakeAgent(), "b": FakeAgent()}
        self.server = FakeAgent()
        self.book = self
        self.over: set[str] = set()  # runs whose handler has ended, and whose outcome is written down

    def life_of(self, agent: str) -> int:
        """Return whether it lives."""
        return self.agents[agent].life

    def later(self, delay_s: float, what: Callable[[], Any]) -> None:
        """Do nothing: nobody is started again here."""

    async def have_server(self) -> None:
        """Do nothing."""

    def is_over(self, run_id: str) -> bool:
        """Tell as the children's record does."""
        return run_id in self.over

    async def is_journalled(self, agent: str, run_id: str, since_ns: int) -> bool:
        """Tell as the journal does."""
        return run_id in self.over


def trap_of(name: str) -> tuple[Trap, FakeWorld]:
    """Return a trap for the first time that its step comes."""
    it = FakeWorld()
    traps = (Trap(Cell.named(name), Random(seed), cast(Any, it)) for seed in range(100))
    trap = next(trap for trap in traps if trap.chances.nth == 1)
    trap.job_id, trap.tasks = "j1", frozenset({"t1"})
    return trap, it


def exchange(what: str, run_id: str = "r1", agent: str = "a", life: int = 1) -> Exchange:
    """Return a claim, a report, an end or a requeue."""
    body: dict[str, Any] = {"id": run_id} if what in ("claim", "requeue") else {}
    body |= {"claim": {"startedAt": "x"}, "end": {"stoppedAt": "x"}}.get(what, {})
    start = "POST /api/jobs/runs HTTP/1.1" if "id" in body else f"PUT /api/jobs/runs/{run_id} HTTP/1.1"
    request = Message(start, b"", {}, msgspec.json.encode(body))
    return Exchange(agent, life, request, kind_of(request))


def go(trap: Trap, one: Exchange, upto: str = "answered", *, is_harmed: bool = True) -> Exchange:
    """Let an exchange go through its phases; the fault is done, or it comes to nothing."""

    async def phases() -> None:
        for phase in PHASES[: PHASES.index(upto) + 1]:
            await trap.on_exchange(one, phase)
            if one.fault is not Fault.NONE or one.on_answer is not Fault.NONE:
                one.is_harmed = is_harmed

    asyncio.run(phases())
    trap.over(one)
    return one


def line(what: str) -> Line:
    """Return a line of a child."""
    return Line(1, what, "t1", "r1", "a", 7, 1, "-")


def test_a_kill_without_a_fault_is_a_hit() -> None:
    """At the step's own phase."""
    trap, it = trap_of("agent@claim-taken+none")
    go(trap, exchange("claim"), "sent")
    assert (trap.is_hit, it.agents["a"].life) == (False, 1)
    go(trap, exchange("claim"), "taken")
    assert (trap.is_hit, it.agents["a"].life, [kill.victim for kill in trap.kills]) == (
        True,
        0,
        [Victim.AGENT],
    )


def test_a_kill_whose_fault_was_not_done_is_none() -> None:
    """It is done to the next request of the new life, not of the dead one, nor of another agent."""
    trap, it = trap_of("agent@claim-taken+drop-request")
    go(trap, exchange("claim"), "taken")
    for other in (exchange("end"), exchange("end", agent="b"), exchange("end", life=2)):
        assert go(trap, other).fault is Fault.NONE
    it.agents["a"].life = 2
    assert not trap.is_hit
    assert go(trap, exchange("end", life=2)).fault is Fault.DROP_REQUEST
    assert trap.is_hit


def test_a_fault_that_came_to_nothing_is_tried_at_the_next_request() -> None:
    """Such as the drop of an answer that a dead server does not give."""
    trap, it = trap_of("server@claim-sent+drop-answer")
    go(trap, exchange("claim"), "sent")
    assert it.server.life == 0
    go(trap, exchange("claim"), is_harmed=False)
    assert (trap.is_hit, trap.faults) == (False, 0)
    go(trap, exchange("claim"))
    assert (trap.is_hit, trap.faults) == (True, 1)


def test_a_request_that_was_never_answered_is_not_the_step() -> None:
    """The next one is, and gets the fault, too."""
    trap, _ = trap_of("nobody@end-answered+delay")
    assert go(trap, exchange("end"), "sent").fault is Fault.DELAY
    assert not trap.is_hit
    assert go(trap, exchange("end")).fault is Fault.DELAY
    assert trap.is_hit


@pytest.mark.parametrize("name", ["child@claim-sent+none", "minder@claim-sent+502"])
def test_who_is_not_there_is_waited_for(name: str) -> None:
    """Before the first run there is neither child nor minder; no fault is done in vain."""
    trap, _ = trap_of(name)
    assert go(trap, exchange("claim")).fault is Fault.NONE
    assert (trap.is_hit, trap.kills) == (False, [])


def test_a_claim_that_loses_its_race_is_no_step() -> None:
    """Neither one whose run another agent has claimed before, nor one that is refused."""
    trap, it = trap_of("agent@claim-taken+none")
    refused = exchange("claim")
    refused.is_refused = True
    go(trap, refused)
    go(trap, exchange("claim", agent="b"))
    assert not trap.is_hit
    go(trap, exchange("claim", run_id="r2", agent="b"))
    assert (trap.is_hit, it.agents["b"].life) == (True, 0)


def test_a_report_after_the_handler_has_ended_is_not_in_progress() -> None:
    """Its files are on their way to the store."""
    trap, it = trap_of("agent@progress+none")
    it.over.add("r1")
    go(trap, exchange("progress"))
    assert not trap.is_hit
    go(trap, exchange("progress", run_id="r2"))
    assert trap.is_hit


@pytest.mark.parametrize(
    ("name", "what"), [("agent@started+none", "begin"), ("agent@outcome+none", "return")]
)
def test_a_child_that_is_further_by_now_is_not_at_the_step(name: str, what: str) -> None:
    """Nobody is killed then."""
    trap, it = trap_of(name)
    it.over.add("r1")
    asyncio.run(trap.on_line(line(what)))
    assert (trap.is_hit, it.agents["a"].life) == (False, 1)
    it.over.clear()
    asyncio.run(trap.on_line(line(what)))
    assert (trap.is_hit, it.agents["a"].life) == (True, 0)


def test_an_agent_that_wrote_its_outcome_down_while_it_was_killed_is_no_hit() -> None:
    """The journal tells afterwards."""
    trap, it = trap_of("agent@outcome+none")

    def kill() -> bool:
        it.over.add("r1")
        return True

    it.agents["a"].kill = kill  # type: ignore[method-assign]
    asyncio.run(trap.on_line(line("return")))
    assert (trap.is_hit, len(trap.kills)) == (False, 1)


def test_the_journal_is_the_step_only_for_runs_of_this_round() -> None:
    """An intent is no outcome."""
    trap, _ = trap_of("agent@journalled+none")
    for other in (Written("a", "r1", "j1", False), Written("a", "r1", "j0", True)):
        asyncio.run(trap.on_written(other))
        assert not trap.is_hit
    asyncio.run(trap.on_written(Written("a", "r1", "j1", True)))
    assert trap.is_hit


def test_a_disarmed_trap_does_nothing() -> None:
    """The round is over."""
    trap, it = trap_of("agent@claim-sent+none")
    trap.disarm()
    go(trap, exchange("claim"))
    assert (trap.is_hit, it.agents["a"].life) == (False, 1)
