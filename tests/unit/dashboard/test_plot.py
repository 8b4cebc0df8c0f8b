"""Lines over the life of a run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.dashboard.plot import AMOUNT, HEIGHT, RATIO, SIZE, WIDTH, Plot, Scale, rates, time_end


def test_a_rate_is_what_a_counter_grew_by_and_never_negative() -> None:
    """From each sample to the next; counters that begin again give none."""
    assert rates([(0, 0), (2, 3), (4, 4), (5, 1)]) == (
        (0, 1.5),
        (2, 1.5),
        (2, 0.5),
        (4, 0.5),
        (4, 0.0),
        (5, 0.0),
    )
    assert rates([]) == rates([(1, 1)]) == ()


def test_samples_that_came_at_once_are_one_step() -> None:
    """What a counter jumped by between two looks of one moment is no rate; nothing of it is lost."""
    assert rates([(0, 0), (50, 5), (99.9, 10), (100, 12)]) == ((0, 0.1), (50, 0.1), (50, 0.14), (100, 0.14))
    assert rates([(0, 0), (0, 1), (0, 2)]) == ()
    many = rates([(second / 10, second / 5) for second in range(10_001)])
    assert len(many) <= 200
    assert many[-1][0] == 1000.0
    assert many[-1][1] == pytest.approx(2.0)


# Samples are told apart by milliseconds.
TIMES = st.integers(0, 10**9).map(lambda at_ms: at_ms / 1000)


@given(st.lists(st.tuples(TIMES, st.floats(0, 1e6)), min_size=2, max_size=60))
def test_the_steps_add_up_to_what_was_counted(parts: list[tuple[float, float]]) -> None:
    """However the samples lie in time: the mean of a rate times its time is the counter's last value."""
    points = list(zip(sorted(at for at, _ in parts), sorted(value for _, value in parts), strict=True))
    steps = rates([(0.0, 0.0), *points])
    if points[-1][0] > 0:
        assert Plot("x", steps, AMOUNT).mean * points[-1][0] == pytest.approx(points[-1][1])


def test_a_line_is_drawn_from_the_start_of_the_run_and_from_zero() -> None:
    """Both axes go up to a round number; what began later begins further right."""
    plot = Plot("x", ((10, 0.0), (15, 4.0), (20, 2.0)), AMOUNT)
    assert plot.path == f"300.0,{HEIGHT}.0 450.0,0.0 {WIDTH}.0,{HEIGHT / 2}"
    assert (plot.highest, plot.lowest, plot.last, plot.is_worth_it) == (4.0, 0.0, 2.0, True)
    assert plot.times == ("0 s", "10 s", "20 s")
    assert plot.values == ("4", "2", "0")


def test_a_fixed_scale_is_kept() -> None:
    """Progress of a half is half the height, and more than all is all."""
    plot = Plot("x", ((0, 0.5), (1, 7.0)), RATIO)
    assert plot.path == f"0.0,{HEIGHT / 2} {WIDTH}.0,0.0"
    assert plot.values == ("100 %", "50 %", "0 %")


def test_nothing_to_draw_is_not_drawn() -> None:
    """A single point is no line, nor are two of one moment; that nothing happened is told where it counts."""
    assert not Plot("x", ((1, 1.0),), AMOUNT).is_worth_it
    assert not Plot("x", ((0, 1.0), (0, 2.0)), AMOUNT).is_worth_it
    assert not Plot("x", ((0, 0.0), (1, 0.0)), AMOUNT).is_worth_it
    flat = Plot("x", ((0, 0.0), (1, 0.0)), AMOUNT, is_told_flat=True)
    assert flat.is_worth_it
    assert (flat.path, flat.values) == (f"0.0,{HEIGHT}.0 {WIDTH}.0,{HEIGHT}.0", ("1", "0.5", "0"))


def test_the_mean_is_that_over_time_and_told_only_of_what_may_fall() -> None:
    """Three seconds at 1 and one at 5 are 2 on average, however many samples came of each."""
    points = rates([(0, 0), (1, 1), (2, 2), (3, 3), (4, 8)])
    told = Plot("x", points, AMOUNT, has_mean=True)
    assert told.mean == pytest.approx(2.0)
    assert told.in_words == "latest 5, from 1 to 5, 2 on average"
    assert Plot("x", points, SIZE).in_words == "latest 5 B, from 1 B to 5 B"


@pytest.mark.parametrize(
    ("scale", "highest", "ticks"),
    [
        (AMOUNT, 1.0, ("1", "0.5", "0")),
        (AMOUNT, 0.03, ("0.04", "0.02", "0")),
        (AMOUNT, 7.2, ("10", "5", "0")),
        (AMOUNT, 130, ("200", "100", "0")),
        (SIZE, 700 * 2**20, ("1 GiB", "512 MiB", "0 B")),
        (SIZE, 1, ("2 B", "1 B", "0 B")),
    ],
)
def test_an_axis_ends_at_a_round_number(scale: Scale, highest: float, ticks: tuple[str, str, str]) -> None:
    """Of which the half is round, too."""
    assert scale.ticks(highest) == ticks


@pytest.mark.parametrize(
    ("last_s", "end", "half"),
    [(0.03, "40 ms", "20 ms"), (1.5, "2 s", "1 s"), (61, "2 min", "1 min"), (5000, "2 h", "1 h"),
     (90_000, "2 d", "1 d"), (25 * 86400, "40 d", "20 d")],
)  # fmt: skip
def test_the_axis_of_time_ends_at_a_round_one(last_s: float, end: str, half: str) -> None:
    """In the unit that people would take."""
    plot = Plot("x", ((0, 1.0), (last_s, 1.0)), AMOUNT)
    assert plot.times == ("0 s", half, end)


@given(st.floats(0, 1e15), st.floats(1e-9, 1e10))
def test_every_axis_holds_what_it_shows(highest: float, last_s: float) -> None:
    """And most of it is used."""
    for scale in (AMOUNT, SIZE):
        assert scale.end(highest) >= highest
        assert scale.end(highest) <= max(2.6 * highest, 2.0)
    assert last_s <= time_end(last_s) <= 2.6 * last_s
