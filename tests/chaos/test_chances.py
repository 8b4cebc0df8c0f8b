"""Chances leave every step the time that it needs."""

from __future__ import annotations

from random import Random

from tests.chaos.cells import MATRIX, Fault, Phase, Spot, Step, Victim, spot_of
from tests.chaos.chances import draw
from tests.chaos.processes import SETTINGS

DRAWS = 20
REQUEST_TIMEOUT_S = float(SETTINGS["MILLHAND_REQUEST_TIMEOUT"].rstrip("s"))
BEAT_S = 0.01


def test_the_same_seed_draws_the_same() -> None:
    """A failure is repeated by it."""
    for cell in MATRIX:
        assert draw(cell, Random("7")) == draw(cell, Random("7"))


def test_who_must_read_an_answer_has_not_given_up() -> None:
    """And the handler of a run in progress has not ended when its first report is answered late."""
    for cell in MATRIX:
        for chances in (draw(cell, Random(seed)) for seed in range(DRAWS)):
            at = cell.step.on_wire
            if cell.fault is Fault.DELAY and at is not None and at[1] is not Phase.SENT:
                assert chances.delay_s < REQUEST_TIMEOUT_S
            if cell.fault is Fault.DELAY and cell.step is Step.PROGRESS:
                assert chances.delay_s < chances.beats[0] * BEAT_S


def test_an_agent_whose_next_life_shall_suffer_is_back_before_its_lease_is_over() -> None:
    """Else its run is given up, and it has nothing to tell."""
    for cell in MATRIX:
        if cell.victim is Victim.AGENT and spot_of(cell) is Spot.NEXT and cell.fault is not Fault.NONE:
            assert all(draw(cell, Random(seed)).down_s < 1.0 for seed in range(DRAWS))


def test_only_a_cell_with_a_fault_harms_requests() -> None:
    """A cut harms once: everything."""
    for cell in MATRIX:
        harmed = {draw(cell, Random(seed)).harmed for seed in range(DRAWS)}
        assert (harmed == {0}) == (cell.fault is Fault.NONE)
        assert harmed == {1} or cell.fault is not Fault.CUT
