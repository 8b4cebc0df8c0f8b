"""What a round leaves to chance: which time it is, and how long everything takes. Pure."""

from __future__ import annotations

from random import Random
from typing import Final

from msgspec import Struct

from tests.chaos.cells import Cell, Fault, Phase, Spot, Step, Victim, spot_of
from tests.chaos.servers import LEASE_S

__all__ = ["Chances", "draw"]

DOWN_S: Final = (0.0, 0.0, 0.7, LEASE_S + 1.0)  # how long who was killed stays dead
DELAY_S: Final = (0.2, 1.0, LEASE_S + 1.0)  # the last one is beyond the agent's own patience, too
CUT_S: Final = (0.5, LEASE_S + 2.5)
OUTCOME_S: Final = 0.004  # about what the outcome takes from the child to the agent
EXECUTING: Final = frozenset({Step.STARTED, Step.PROGRESS})
SELDOM: Final = frozenset({Step.REQUEUE_SENT, Step.REQUEUE_TAKEN, Step.REQUEUE_ANSWERED})
LONG_SHARE: Final = 0.3  # of the rounds, at a step at which the run still has its whole time before it
BEATS: Final = (10, 40)  # of 10 ms each
WATCHED_BEATS: Final = (40, 80)  # the first report finds the handler at it
LONG_BEATS: Final = (600, 650)  # of a single task, beyond the lease: somebody idle may take it meanwhile


class Chances(Struct, frozen=True):
    """What was drawn."""

    nth: int  # which time an agent is at the step
    down_s: float  # how long who is killed stays dead
    delay_s: float  # of what is delayed or sent twice; how long a cut lasts
    outcome_s: float  # from a child's last line to the kill
    harmed: int  # how many requests
    is_after: bool  # whether the server has what is answered by a page of HTML
    is_long: bool
    beats: tuple[int, int]  # of the handlers, at least and at most


def draw(cell: Cell, rng: Random) -> Chances:
    """Draw the chances of a round."""
    is_cut = cell.fault is Fault.CUT
    is_alone = (cell.step, cell.fault) == (Step.PROGRESS, Fault.REORDER)  # nothing would overtake it
    is_long = cell.step in EXECUTING and not is_alone and (is_cut or rng.random() < LONG_SHARE)
    more = 1 if is_cut else rng.choice((1, 1, 2, 3))
    return Chances(
        nth=1 if cell.step in SELDOM | EXECUTING else rng.choice((1, 1, 2)),
        down_s=draw_down_s(cell, rng),
        delay_s=draw_delay_s(cell, rng),
        outcome_s=rng.uniform(0.0, OUTCOME_S),
        harmed=0 if cell.fault is Fault.NONE else more,
        is_after=rng.random() < 0.5,
        is_long=is_long,
        beats=LONG_BEATS if is_long else WATCHED_BEATS if cell.step is Step.PROGRESS else BEATS,
    )


def draw_down_s(cell: Cell, rng: Random) -> float:
    """Return how long it is dead; an agent whose next life shall suffer, or overtake, must come in time."""
    is_next = cell.fault is not Fault.NONE and spot_of(cell) is Spot.NEXT
    is_awaited = cell.victim is Victim.AGENT and (is_next or cell.fault is Fault.REORDER)
    return rng.choice(DOWN_S[:-1] if is_awaited else DOWN_S)


def draw_delay_s(cell: Cell, rng: Random) -> float:
    """Return how long it takes; who waits for the answer at the step has not given up by then."""
    if cell.fault is Fault.CUT:
        return rng.choice(CUT_S)
    if cell.step is Step.PROGRESS:  # nor has the handler ended by then
        return DELAY_S[0]
    at = cell.step.on_wire
    return rng.choice(DELAY_S if at is None or at[1] is Phase.SENT else DELAY_S[:2])
