"""A run of two looks: its bill is what the books would say, where they are not needed."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.usage.burner import Burner
from worker.clock import SystemClock
from worker.usage.books import Books
from worker.usage.look import Look
from worker.usage.meter import Meter
from worker.usage.process import Key, ProcessReading
from worker.usage.ram import MISSED
from worker.usage.run_group import RunGroup
from worker.usage.short_run import ShortRun
from worker.usage.tree import Tree

PAGE = 4096
ROOT = Key(7, 1)
SECONDS = st.floats(0, 10, allow_nan=False)
PAGES = st.integers(1, 100_000).map(lambda pages: pages * PAGE)
NO_REASON = st.sampled_from(["", "the peak could not be reset"])
SETTLED = "process_clock"


@st.composite
def looks(draw: st.DrawFn) -> tuple[Look, Look]:
    """Draw two looks at one process; its counters go up, or as kernels at times have it a little down."""
    in_group = draw(st.tuples(st.booleans(), st.booleans()))
    cpu_s, own_s, disk = draw(SECONDS), draw(SECONDS), draw(PAGES)
    found = []
    at_mono = 100.0
    for _ in range(2):
        ram, files = draw(PAGES), draw(PAGES)
        cpu_s, own_s = cpu_s + draw(st.floats(-0.01, 5)), own_s + draw(st.floats(-0.01, 5))
        reaped_s = draw(st.sampled_from([0.0, 0.02]))
        reaped_faults = draw(st.sampled_from([0, 0, 7]))
        disk += draw(st.sampled_from([0, PAGE, 1 << 20]))
        reading = ProcessReading(
            ROOT, 1, 2, own_s, own_s / 3, reaped_s, reaped_s / 2, reaped_s > 0, True, ram, ram, files,
            ram + files + draw(st.sampled_from([0, PAGE, 1 << 24])), disk, 2 * disk,
            reaped_faults,
        )  # fmt: skip
        group_s = (cpu_s, cpu_s / 4) if in_group[0] else None
        found.append(Look(at_mono, group_s, draw(PAGES) if in_group[1] else None, {ROOT: reading}))
        at_mono += draw(st.sampled_from([0.0, 0.001, 0.7]))
    return found[0], found[1]


@given(looks(), NO_REASON, st.sampled_from([0, 0.5, 2]))
def test_two_looks_say_what_books_of_them_say(seen: tuple[Look, Look], reason: str, gpus: float) -> None:
    """Each figure, its method, its coverage and why it is less than it could be."""
    first, last = seen
    short = ShortRun.between(first, last, SETTLED, reason)
    assert short is not None
    books = Books(Tree(ROOT.pid, None), RunGroup(), first, SETTLED, reason)
    books.take(last)
    now = last.at_mono + 0.001
    assert short.usage(now, gpus) == books.bill(gpus).usage(now, complete=True, reason="")


@given(looks())
def test_a_peak_is_whole_where_nobody_was_waited_for_between_the_looks(seen: tuple[Look, Look]) -> None:
    """And only there: else it covers less than all of the time, and says why."""
    first, last = seen
    (before,), (after,) = first.readings.values(), last.readings.values()
    short = ShortRun.between(first, last, SETTLED, "")
    assert short is not None
    usage = short.usage(last.at_mono + 0.001, 0)
    is_whole = after.reaped_s <= before.reaped_s and after.reaped_faults <= before.reaped_faults
    assert (usage.coverage["ram_peak_bytes"] == 1.0) is is_whole
    assert usage.reasons == ({} if is_whole else {"ram_peak_bytes": MISSED})


READING = ProcessReading(ROOT, 1, 1, 1.0, 0.5, 0, 0, False, True, PAGE, PAGE, PAGE, 2 * PAGE, 0, 0)
LOOK = Look(1.0, (1.0, 0.5), PAGE, {ROOT: READING})
OTHER = READING._replace(key=Key(8, 1))


@pytest.mark.parametrize(
    "other",
    [
        LOOK._replace(cpu_s=None),
        LOOK._replace(held_bytes=None),
        LOOK._replace(readings={}),
        LOOK._replace(readings={OTHER.key: OTHER}),
        LOOK._replace(readings={ROOT: READING, OTHER.key: OTHER}),
        LOOK._replace(readings={ROOT: READING._replace(hwm_bytes=None)}),
        LOOK._replace(readings={ROOT: READING._replace(written_bytes=None)}),
    ],
)
def test_what_two_looks_do_not_tell_takes_books(other: Look) -> None:
    """Where something came, went or could not be read, at the start or at the end."""
    assert ShortRun.between(LOOK, other, SETTLED, "") is None
    assert ShortRun.between(other, LOOK, SETTLED, "") is None
    assert ShortRun.between(LOOK, LOOK, SETTLED, "") is not None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_short_run_whose_process_is_ended_after_its_last_look_has_what_wait4_says() -> None:
    """The look before it stays on the bill: the peak that it saw, and that nothing was missed."""
    with Burner() as burner:
        meter = Meter(burner.pid, SystemClock())
        meter.start()
        burner.order("burn(0.02)")
        burner.order("hold(64)")
        assert meter.look_last() is not None
        usage = meter.finish(burner.end())
    assert usage.complete
    assert usage.methods["cpu_user_s"] == "wait4"
    assert usage.cpu_s is not None
    assert usage.cpu_s >= 0.02
    assert (usage.ram_peak_bytes or 0) >= 64 << 20
    assert usage.reasons == {}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_short_run_whose_process_vanished_after_its_last_look_keeps_it() -> None:
    """As the last figures that were seen, incomplete."""
    with Burner() as burner:
        meter = Meter(burner.pid, SystemClock())
        meter.start()
        burner.order("burn(0.02)")
        meter.look_last()
        burner.end()
        assert meter.look_last() is None
        usage = meter.finish()
    assert not usage.complete
    assert (usage.cpu_s or 0) >= 0.02
    assert "is gone" in usage.reasons["cpu_user_s"]
    assert meter.baseline() is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("is_sampled", [False, True])
def test_a_subprocess_that_no_look_saw_may_have_had_the_peak(is_sampled: bool) -> None:
    """Its memory is on no bill: the peak says so, and that it does not cover the time."""
    with Burner() as burner:
        meter = Meter(burner.pid, SystemClock())
        meter.start()
        if is_sampled:
            assert meter.sample().reasons == {}
        burner.order("child_holds(64)")
        usage = meter.sample() if is_sampled else meter.finish()
        assert (usage.ram_peak_bytes or 0) < 64 << 20
        assert usage.reasons == {"ram_peak_bytes": MISSED}
        assert usage.coverage["ram_peak_bytes"] < 1.0
        if is_sampled:
            usage = meter.finish()  # nobody came since: the reason stays
            assert usage.reasons == {"ram_peak_bytes": MISSED}
        assert usage.complete
