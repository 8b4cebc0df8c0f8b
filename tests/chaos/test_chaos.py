"""A selection of the matrix: one cell of each kind, the same choices every time."""

from __future__ import annotations

import asyncio

import pytest

from tests.chaos.cells import Cell, Victim
from tests.chaos.tally import Tally, shown
from tests.chaos.world import Shape
from tests.chaos.wreck import Plan, wreck
from tests.faults.processes import adopting_orphans

SEED = 4
CELLS = [
    Cell.named(name)
    for name in (
        "child@started+reorder",
        "agent@claim-sent+delay",
        "server@end-taken+drop-answer",
        "agent@journalled+502",
        "minder@progress+none",
        "agent@claim-taken+none",
        "nobody@claim-sent+drop-answer",
        "agent@requeue-taken+duplicate",
        "nobody@progress+cut",
    )
]
AGAIN = 6  # rounds more, for cells whose step did not come about in the first


@pytest.fixture(scope="module")
def tally(tmp_path_factory: pytest.TempPathFactory) -> Tally:
    """Play them in worlds of two shapes, then let the agents drain."""
    played = Tally(SEED, CELLS)
    plan = Plan(rounds=len(CELLS) + AGAIN, is_until_hit=True, shapes=[Shape(2, 2)])
    with adopting_orphans():
        asyncio.run(wreck(tmp_path_factory.mktemp("chaos"), played, plan))
    return played


def test_no_result_is_lost_no_task_runs_twice_and_nothing_is_left(tally: Tally) -> None:
    """Whoever is killed, at whatever step, with whatever fault of the wire."""
    assert tally.broken == [], shown(tally)


def test_every_cell_was_hit(tally: Tally) -> None:
    """A kill that did not happen would show nothing; neither would a fault."""
    assert tally.missed() == []
    killers = [cell for cell in CELLS if cell.victim is not Victim.NOBODY]
    assert sum(len(one.kills) for one in tally.rounds) >= len(killers)
    assert sum(one.faults for one in tally.rounds) >= 6
