"""In which order a picture shows tasks, and which task each cell is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.dashboard import orders
from server.dashboard.orders import RANKS, as_made, failed_first, slowest_first
from server.store.outcomes import TaskTimes

STATES = st.text("psrf", max_size=200)


@given(STATES)
def test_a_cell_in_any_order_is_the_task_that_it_shows(states: str) -> None:
    """Each task has one cell, of its own state."""
    times = TaskTimes(states, [(7 * place + 3) % 5 - 1 for place in range(len(states))])
    for cells in (as_made(states), failed_first(states), slowest_first(times)):
        places = [cells.task_at(cell) for cell in range(len(states))]
        assert sorted(place for place in places if place is not None) == list(range(len(states)))
        assert "".join(states[place] for place in places if place is not None) == cells.states
        assert cells.task_at(len(states)) is None
        assert cells.task_at(-1) is None


@given(STATES)
def test_what_failed_comes_first_and_within_a_state_what_was_made_first(states: str) -> None:
    """The n-th cross is the n-th task that failed."""
    cells = failed_first(states)
    assert cells.states == "".join(sorted(states, key=RANKS.index))
    for letter in RANKS:
        made = [place for place, one in enumerate(states) if one == letter]
        begin = cells.states.find(letter)
        assert [cells.task_at(begin + n) for n in range(len(made))] == made


def test_what_took_longest_comes_first_and_what_has_not_started_last() -> None:
    """Those that took as long stand as they were made."""
    cells = slowest_first(TaskTimes("psfrs", [-1, 5, 900, 5, 0]))
    assert [cells.task_at(cell) for cell in range(5)] == [2, 1, 3, 4, 0]
    assert cells.states == "fsrsp"


def test_failures_are_found_behind_the_cells_of_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a job with more tasks than cells, those that failed are shown wherever they are."""
    monkeypatch.setattr(orders, "MOST_CELLS", 3)  # the bound itself, made small
    cells = failed_first("ssssssf")
    assert cells.states == "fss"
    assert [cells.task_at(cell) for cell in range(4)] == [6, 0, 1, None]
    assert as_made("ssssssf").states == "sss"
