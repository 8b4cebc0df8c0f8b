"""Runs laid into rows and drawn, and waits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from server.dashboard.fleet import Machine
from server.dashboard.timeline import SEEN, WIDTH, Bar, Scale, tracks_of, waits_of
from server.store.usage import Ending, Span, Waiting
from server.times import from_ms
from worker.api.wire import format_instant

HOUR = 3_600_000
SCALE = Scale(0, HOUR)


def span(begin: int, end: int | None, id_: str = "r", **given_: Any) -> Span:
    """Return a run of an agent."""
    whole = {"task_id": "t", "task_type": "render", "title": None, "pod_id": "a", "progress": None}
    times = {"made_at": begin, "heard_at": begin, "wanted_at": begin, "started_at": begin, "stopped_at": end}
    ending = Ending.SUCCEEDED if end is not None else Ending.RUNNING
    return Span(**{"id": id_, "ending": ending, **whole, **times, **given_})


def lanes(*spans: Span, machine: Machine | None = None) -> list[list[Bar]]:
    """Return what is drawn of one agent."""
    (track,) = tracks_of(spans, [machine] if machine else [], SCALE, HOUR)
    return track.lanes


def test_runs_lie_in_the_first_row_that_is_free() -> None:
    """One begins where another ended; what overlaps lies below."""
    drawn = lanes(
        span(0, HOUR // 2, "1"), span(HOUR // 2, HOUR, "2"), span(HOUR // 4, HOUR // 2, "3"), span(5, 9, "4")
    )
    assert [[bar.run_id for bar in lane] for lane in drawn] == [["1", "2"], ["4", "3"]]
    first, second = drawn[0]
    assert (first.x, first.width, second.x, second.width) == (0.0, 50.0, 50.0, 50.0)


def test_what_reaches_out_of_the_time_is_cut_and_what_runs_reaches_the_end() -> None:
    """Also by a clock that goes before."""
    (before,), (after,) = lanes(span(-HOUR, HOUR // 2, "1"), span(HOUR // 4, 2 * HOUR, "2"))
    assert (before.x, before.width, after.x, after.width) == (0.0, 50.0, 25.0, 75.0)
    ((running,),) = lanes(span(3 * HOUR // 4, None))
    assert (running.x, running.width, running.word) == (75.0, 25.0, "running")


def test_free_slots_are_rows_and_agents_without_runs_are_there() -> None:
    """Their time at work counts from when they began; without slots it is unknown."""
    machine = Machine(name="a", last_seen="", slots=4, started_at=HOUR // 2)
    (track,) = tracks_of([span(HOUR // 2, HOUR), span(HOUR // 2, HOUR)], [machine], SCALE, HOUR)
    assert (len(track.lanes), track.busy, track.told) == (4, 0.5, "2 succeeded")
    (idle,) = tracks_of([], [machine], SCALE, HOUR)
    assert (len(idle.lanes), idle.busy) == (4, 0.0)
    (foreign,) = tracks_of([span(0, 5)], [], SCALE, HOUR)
    assert foreign.busy is None
    assert tracks_of([], [Machine(name="b", last_seen="")], SCALE, HOUR) == []


def test_how_busy_an_agent_was_counts_its_own_time() -> None:
    """Not what one of its name did before it began, nor the time since it fell silent."""
    begun = Machine(name="a", last_seen="", slots=1, started_at=HOUR // 2)
    (track,) = tracks_of([span(0, HOUR // 2), span(3 * HOUR // 4, HOUR)], [begun], SCALE, HOUR)
    assert track.busy == 0.5
    seen = format_instant(from_ms(HOUR // 4))
    silent = Machine(name="a", last_seen=seen, is_silent=True, slots=1, started_at=0)
    (track,) = tracks_of([span(HOUR // 8, None)], [silent], SCALE, HOUR)
    assert track.busy == 0.5


def test_what_is_drawn_beyond_now_is_no_time() -> None:
    """The scale goes on in steps, of up to a quarter of an hour: nothing is longer by that."""
    machine = Machine(name="a", last_seen="", slots=1, started_at=0)
    (track,) = tracks_of([span(HOUR // 4, None)], [machine], SCALE, HOUR // 2)
    assert track.busy == 0.5
    ((bar,),) = track.lanes
    assert bar.label == "render: running, since 1970-01-01 00:15:00Z"


def test_a_run_whose_clock_was_set_back_took_no_time_that_is_known() -> None:
    """Neither less than none, nor none; it is drawn where it began."""
    ((bar,),) = lanes(span(HOUR // 2, HOUR // 4, title=" "))
    assert (bar.x, bar.label) == (50.0, "render: succeeded, –")


def test_runs_too_short_to_be_seen_are_drawn_together() -> None:
    """As the worst of them, to which it leads; what can be seen stands for itself."""
    short = [span(at, at + 90, str(at)) for at in range(0, 1000, 100)]
    short[7] = span(700, 790, "bad", ending=Ending.FAILED)
    ((together, apart),) = lanes(*short, span(HOUR // 2, HOUR, "long"))
    assert (together.count, together.word, together.run_id) == (10, "failed", "bad")
    assert together.label == "10 runs, too close to be told apart, the worst failed"
    assert (apart.count, apart.run_id) == (1, "long")


def test_a_long_run_that_follows_short_ones_is_not_lost_in_them() -> None:
    """It is drawn with them, and as long as it is."""
    ((bar, _),) = lanes(span(0, 10, "s"), span(10, HOUR // 2, "l"), span(HOUR // 2, HOUR, "e"))
    assert (bar.x + bar.width, bar.run_id) == (50.0, "l")


@given(
    st.lists(st.tuples(st.integers(-HOUR, HOUR), st.integers(0, HOUR), st.sampled_from(Ending)), max_size=60)
)
def test_every_run_is_drawn_once_and_no_two_of_a_row_at_once(found: list[tuple[int, int, Ending]]) -> None:
    """Whatever agents tell."""
    spans = [
        span(begin, begin + took, str(number), ending=ending)
        for number, (begin, took, ending) in enumerate(found)
        if begin + took >= 0
    ]
    for track in tracks_of(spans, [], SCALE, HOUR):
        assert sum(bar.count for lane in track.lanes for bar in lane) == len(spans)
        for lane in track.lanes:
            for bar in lane:
                assert 0 <= bar.x <= WIDTH
                assert bar.width >= SEEN
            for before, after in pairwise(lane):
                assert before.x + before.width <= after.x + SEEN + 0.001


def test_a_scale_has_a_few_ticks_at_round_times() -> None:
    """Whatever the span; the labels are as fine as they must be."""
    at = 1_764_000_123_456
    for span_s in (60, 600, 3600, 6 * 3600, 86400, 7 * 86400):
        ticks = Scale(at, at + span_s * 1000).ticks
        assert 2 <= len(ticks) <= 8
        assert [x for x, _ in ticks] == sorted({x for x, _ in ticks})
    assert [label for _, label in Scale(0, HOUR).ticks] == [f"00:{minute}0" for minute in range(6)]


def test_waits_are_told_by_type() -> None:
    """Those that were claimed in the time, and those that wait now."""
    spans = [
        span(at, None, str(at), made_at=at, wanted_at=at - wait)
        for at, wait in ((1000, 200), (2000, 900), (3000, 100), (-5, 10**6))
    ]
    spans.append(span(50, None, "c", task_type="convert", made_at=50, wanted_at=60))
    draw = Waiting(task_type="draw", tasks=7, oldest_at=0)
    convert, draws, render = waits_of(spans, [draw], SCALE, now=4000)
    assert (convert.task_type, convert.begun, convert.longest_s, convert.known) == ("convert", 1, None, 0)
    assert (draws.now, draws.oldest_s, draws.begun, draws.median_s, draws.longest_run) == (
        7,
        4.0,
        0,
        None,
        None,
    )
    assert (render.begun, render.median_s, render.longest_s, render.longest_run) == (3, 0.2, 0.9, "2000")
    assert (render.now, render.oldest_s) == (0, None)
