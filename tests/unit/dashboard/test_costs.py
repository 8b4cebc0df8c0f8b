"""What runs took and cost, added up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.dashboard import words
from server.dashboard.costs import GROUPS, added_up, by_ending, costs_of, grouped, unknown_costs
from server.prices import Price, Prices
from server.store.usage import Ending, UsageRow

PRICES = Prices(currency="EUR", price=(Price(zone="eu", machine_hour=3600.0),))  # one for each second


def row(**given_: Any) -> UsageRow:
    """Return ten seconds of one run that succeeded."""
    facts = {"machine": "m", "machine_type": "t", "gpu_type": None, "zone": "eu", "preemptible": None}
    used = {"wall_s": 10.0, "cpu_s": 5.0, "gpu_s": 0.0, "ram_byte_s": 1.0}
    return UsageRow(
        **{"task_type": "render", "ending": Ending.SUCCEEDED, "runs": 1, **facts, **used, **given_}
    )


def test_sums_say_of_how_many_runs_they_are() -> None:
    """What is unknown is in none of them, and no zero."""
    rows = [row(), row(runs=2, wall_s=None, cpu_s=None), row(runs=3, zone="us", wall_s=30.0)]
    total = added_up(costs_of(rows, PRICES))
    assert (total.runs, total.wall.value, total.wall.known, total.wall.of) == (6, 40.0, 4, 6)
    assert (total.cost.value, total.cost.known, total.cost.is_whole) == (10.0, 1, False)
    assert added_up(costs_of([row(cpu_s=None)], PRICES)).cpu.value is None
    assert added_up([]).cpu.value == 0.0
    assert unknown_costs(costs_of(rows, PRICES)) == [
        ("no price fits", 3),
        ("how long they took is unknown", 2),
    ]


def test_without_prices_no_cost_is_known() -> None:
    """Not even a zero."""
    total = added_up(costs_of([row()], None))
    assert (total.cost.value, total.wall.value) == (None, 10.0)


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (None, "–"),
        (0.0, "0.00"),
        (4e-05, "< 0.0001"),
        (0.0123, "0.0123"),
        (0.1, "0.10"),
        (1234.5, "1,234.50"),
    ],
)
def test_money_that_was_spent_is_never_shown_as_none(amount: float | None, said: str) -> None:
    """Only what cost nothing is 0."""
    assert words.money(amount) == said


def test_what_was_for_nothing_is_told_by_how_it_ended() -> None:
    """What somebody cancelled too; what runs is for nothing yet to be seen."""
    rows = [row(ending=ending, wall_s=float(number)) for number, ending in enumerate(Ending, 1)]
    costed = costs_of(rows, PRICES)
    assert [line.name for line in by_ending(costed)] == [
        "failed",
        "preempted",
        "drained",
        "lost",
        "cancelled",
    ]
    total = added_up(costed)
    of = {ending: number for number, ending in enumerate(Ending, 1)}
    lost = of[Ending.PREEMPTED] + of[Ending.DRAINED] + of[Ending.LOST]
    assert (total.lost.value, total.lost.of, total.interrupted, total.failed) == (lost, 3, 3, 1)
    assert total.wasted.value == lost + of[Ending.FAILED] + of[Ending.CANCELLED]
    assert (total.ended.known, total.ended.of) == (len(Ending) - 1, len(Ending) - 1)
    assert total.useful == of[Ending.SUCCEEDED] / (sum(of.values()) - of[Ending.RUNNING])


def test_shares_fill_the_bar_and_stand_side_by_side() -> None:
    """In one order; what nobody knows the time of has no part."""
    rows = [row(wall_s=30.0), row(ending=Ending.LOST), row(ending=Ending.FAILED, wall_s=None)]
    assert added_up(costs_of(rows, None)).shares == [("succeeded", 0.0, 0.75), ("interrupted", 0.75, 0.25)]
    assert added_up(costs_of([row(wall_s=0.0)], None)).shares == []


def test_groups_are_named_by_what_is_known_the_dearest_first() -> None:
    """A run without a GPU is not one that did not tell."""
    rows = [row(gpu_type="L4", wall_s=50.0), row(), row(gpu_s=None, runs=4, wall_s=20.0)]
    lines = grouped(costs_of(rows, PRICES), GROUPS["GPU"])
    assert [(line.name, line.runs) for line in lines] == [("L4", 1), ("not told", 4), ("no GPU", 1)]


@given(st.lists(st.tuples(st.sampled_from(Ending), st.integers(1, 9), st.none() | st.floats(0, 1e6))))
def test_groups_together_are_the_whole(found: list[tuple[Ending, int, float | None]]) -> None:
    """However runs are grouped, none is lost and none counted twice."""
    costed = costs_of([row(ending=end, runs=runs, wall_s=wall_s) for end, runs, wall_s in found], PRICES)
    total = added_up(costed)
    for name_of in GROUPS.values():
        lines = grouped(costed, name_of)
        assert sum(line.runs for line in lines) == total.runs
        assert sum(line.wall.amount for line in lines) == pytest.approx(total.wall.amount)
        assert sum(line.cost.known for line in lines) == total.cost.known
    assert total.wall.known <= total.wall.of == total.runs
    assert sum(part for _, _, part in total.shares) == pytest.approx(1.0 if total.wall.amount else 0.0)
