"""How many requests a token may make, and how much may be under way at once."""

from __future__ import annotations

import pytest

from server.http import rates
from server.http.failure import ApiError
from server.http.load import Load
from server.http.rates import SAVED_S, Rates
from tests.unit.server.world import FakeClock


def taken(limits: Rates, name: str = "a", most: int = 1_000) -> int:
    """Return how many requests a token may make now."""
    for count in range(most):
        try:
            limits.take(name)
        except ApiError:
            return count
    return most


def test_a_token_has_what_it_saved_and_then_its_rate() -> None:
    """A burst first, then as many as time brings; another token has its own."""
    clock = FakeClock()
    limits = Rates(clock, 2.0)
    assert taken(limits) == int(2 * SAVED_S)
    clock.advance(3)
    assert taken(limits) == 6
    assert taken(limits, "b") == int(2 * SAVED_S)
    clock.advance(1_000_000)
    assert taken(limits) == int(2 * SAVED_S)


@pytest.mark.parametrize(("per_s", "wait_s"), [(2.0, "1"), (0.1, "10")])
def test_the_answer_says_when_to_come_again(per_s: float, wait_s: str) -> None:
    """Whole seconds, never 0; whoever waits for them is let in."""
    clock = FakeClock()
    limits = Rates(clock, per_s)
    taken(limits)
    with pytest.raises(ApiError) as caught:
        limits.take("a")
    assert (caught.value.code, caught.value.headers) == ("rate_limited", {"Retry-After": wait_s})
    clock.advance(int(wait_s))
    limits.take("a")


def test_no_rate_is_no_limit() -> None:
    """The default."""
    assert taken(Rates(FakeClock(), 0.0)) == 1_000


def test_a_clock_that_jumps_back_takes_nothing_for_ever() -> None:
    """The monotonic clock does not; if one did, the worst would be a wait."""
    clock = FakeClock()
    limits = Rates(clock, 1.0)
    taken(limits)
    clock.advance(-5)
    assert taken(limits) == 0
    clock.advance(10)
    assert taken(limits) > 0


def test_tokens_that_have_saved_everything_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tokens there were, memory is bounded by those that are busy."""
    monkeypatch.setattr(rates, "MOST_KNOWN", 3)  # the limit itself, small enough to reach
    clock = FakeClock()
    limits = Rates(clock, 1.0)
    taken(limits, "busy")
    for name in "bcdefgh":
        limits.take(name)
        clock.advance(2)
    assert len(limits._buckets) <= 4
    assert taken(limits, "busy") < SAVED_S * 2


def test_one_request_too_many_is_refused_and_the_next_is_not() -> None:
    """Those that wait for a task do not count."""
    load = Load(1)
    load.begin()
    with pytest.raises(ApiError) as caught:
        load.begin()
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "1")
    with load.waiting():
        load.begin()
        load.end()
    load.end()
    assert load.requests == 0
    load.begin()


def test_bodies_are_bounded_together() -> None:
    """Many clients with large bodies cannot take the memory of the machine."""
    load = Load(10, most_bytes=100)
    load.add_bytes(60)
    with pytest.raises(ApiError, match="bodies"):
        load.add_bytes(60)
    load.forget_bytes(60)
    load.add_bytes(60)
