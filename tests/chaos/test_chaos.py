"""A selection of the matrix: one cell of each kind, the same choices every time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.chaos.cells import Cell, Fault, Victim
from tests.chaos.tally import Tally, shown
from tests.chaos.world import Shape
from tests.chaos.wreck import Plan, wreck
from tests.faults.processes import adopting_orphans
from tests.postgres.cluster import programs

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
FOREIGN = [  # without leases: nobody but the agent gives a task back
    Cell.named(name)
    for name in (
        "agent@requeue-taken+none",
        "agent@progress+none",
        "minder@claim-taken+duplicate",
        "child@journalled+drop-answer",
        "nobody@requeue-sent+drop-request",
    )
]
REPLICAS = [  # on PostgreSQL: the other one goes on at once
    Cell.named(name)
    for name in ("server@claim-sent+drop-answer", "server@end-sent+none", "agent@progress+none")
]
GATHERED = [  # most writes of an agent go with others
    Cell.named(name)
    for name in (
        "nobody@claim-sent+drop-answer",
        "server@end-sent+none",
        "agent@claim-taken+duplicate",
        "nobody@end-taken+502",
    )
]
AGAIN = 6  # rounds more, for cells whose step did not come about in the first


WORLDS = {"own": CELLS, "replicas": REPLICAS, "foreign": FOREIGN, "gathering": GATHERED}


def played(world: str, folder: Path) -> Tally:
    """Play its cells on two agents of two slots, then let these drain."""
    cells = WORLDS[world]
    tally = Tally(SEED, cells)
    plan = Plan(
        rounds=len(cells) + AGAIN,
        is_until_hit=True,
        is_foreign=world == "foreign",
        has_replicas=world == "replicas",
        gathers=world == "gathering",
        shapes=[Shape(2, 2)],
    )
    with adopting_orphans():
        asyncio.run(wreck(folder, tally, plan))
    return tally


# One test a world: several would play it once more in each process of the suite that has one of them.
@pytest.mark.parametrize("world", WORLDS)
def test_no_result_is_lost_no_task_runs_twice_and_nothing_is_left(world: str, tmp_path: Path) -> None:
    """Whoever is killed, at whatever step, with whatever fault of the wire; and every cell was hit."""
    if world == "replicas":
        programs()  # skips where there is no PostgreSQL
    tally = played(world, tmp_path)
    assert tally.broken == [], shown(tally)
    see_every_cell_hit(tally)
    if world == "gathering":
        see_writes_together(tally)


def see_every_cell_hit(tally: Tally) -> None:
    """A kill that did not happen would show nothing; neither would a fault."""
    assert tally.missed() == []
    killers = [cell for cell in tally.wanted if cell.victim is not Victim.NOBODY]
    faulty = [cell for cell in tally.wanted if cell.fault is not Fault.NONE]
    assert sum(len(one.kills) for one in tally.rounds) >= len(killers)
    assert sum(one.faults for one in tally.rounds) >= len(faulty)


def see_writes_together(tally: Tally) -> None:
    """Some requests held several writes, and some of these met their fault: else it says nothing of them."""
    assert tally.batches["answered"] >= len(GATHERED)
    assert tally.batches["harmed"] > 0
