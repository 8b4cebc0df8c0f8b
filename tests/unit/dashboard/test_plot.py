"""Lines over the life of a run."""

from __future__ import annotations

from server.dashboard.plot import HEIGHT, WIDTH, Plot, rates


def test_a_rate_is_what_a_counter_grew_by_and_never_negative() -> None:
    """Samples of one moment, and counters that begin again, give none."""
    assert rates([(0, 0), (2, 3), (2, 4), (4, 4), (5, 1)]) == ((2, 1.5), (4, 0.0), (5, 0.0))
    assert rates([]) == rates([(1, 1)]) == ()


def test_a_line_fills_its_plot() -> None:
    """From the left edge to the right one, the highest value at the top."""
    plot = Plot("x", ((10, 0.0), (15, 4.0), (20, 2.0)), str)
    assert plot.path == f"0.0,{HEIGHT}.0 {WIDTH / 2},0.0 {WIDTH}.0,{HEIGHT / 2}"
    assert (plot.highest, plot.last, plot.is_worth_it) == (4.0, 2.0, True)


def test_a_fixed_scale_is_kept() -> None:
    """Progress of a half is half the height, and more than all is all."""
    assert Plot("x", ((0, 0.5), (1, 7.0)), str, top=1.0).path == f"0.0,{HEIGHT / 2} {WIDTH}.0,0.0"


def test_nothing_to_draw_is_not_drawn() -> None:
    """A single point is no line; a flat zero one still has a path."""
    assert not Plot("x", ((1, 1.0),), str).is_worth_it
    assert Plot("x", ((1, 0.0), (1, 0.0)), str).path == f"0.0,{HEIGHT}.0 0.0,{HEIGHT}.0"
