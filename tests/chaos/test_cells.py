"""The matrix, and where its faults are done."""

from __future__ import annotations

import pytest

from tests.chaos.cells import MATRIX, Cell, Fault, Phase, Spot, Victim, in_order, matrix_of, spot_of


def test_the_order_of_cells_holds_each_once_and_every_victim_at_every_step_first() -> None:
    """The same for the same seed; names are read back."""
    order = in_order(5)
    assert order == in_order(5) != in_order(6)
    assert sorted(order) == sorted(MATRIX)
    heads = {(cell.victim, cell.step) for cell in MATRIX}
    assert {(cell.victim, cell.step) for cell in order[: len(heads)]} == heads
    assert [Cell.named(str(cell)) for cell in order] == order


def test_a_foreign_server_is_never_killed() -> None:
    """All other cells are there."""
    cells = matrix_of(is_foreign=True)
    assert {cell.victim for cell in cells} == set(Victim) - {Victim.SERVER}
    assert len(cells) == len(MATRIX) - 15 * 8


@pytest.mark.parametrize(
    ("cell", "spot"),
    [
        ("agent@intent+delay", Spot.NEXT),
        ("agent@claim-sent+delay", Spot.REQUEST),
        ("agent@claim-sent+drop-answer", Spot.REQUEST),
        ("agent@claim-sent+drop-request", Spot.NEXT),
        ("agent@claim-taken+drop-answer", Spot.NEXT),
        ("child@claim-taken+drop-answer", Spot.ANSWER),
        ("child@claim-taken+drop-request", Spot.NEXT),
        ("server@claim-sent+drop-answer", Spot.NEXT),
        ("server@claim-sent+502", Spot.REQUEST),
        ("nobody@end-answered+502", Spot.NEXT),
        ("nobody@end-answered+reorder", Spot.REQUEST),
        ("nobody@polled+reorder", Spot.NEXT),
    ],
)
def test_a_fault_is_done_where_it_can_still_be(cell: str, spot: Spot) -> None:
    """To the step's own request, to its answer, or after it, where else it came too late or unnoticed."""
    assert spot_of(Cell.named(cell)) is spot


def test_no_request_is_harmed_after_it_was_taken() -> None:
    """Nor an answer that a dead agent would not have read."""
    for cell in MATRIX:
        at = cell.step.on_wire
        if spot_of(cell) is Spot.ANSWER:
            assert at is not None
            assert at[1] is Phase.TAKEN
            assert cell.victim is not Victim.AGENT
        if spot_of(cell) is Spot.REQUEST and cell.fault is Fault.DROP_REQUEST:
            assert at is not None
            assert at[1] is Phase.SENT
