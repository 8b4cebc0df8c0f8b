"""The two simplest handlers."""

from __future__ import annotations

import threading
import time

import pytest

from handlers.noop import noop
from handlers.sleep import sleep
from worker import Cancelled, Fail
from worker.sdk import spec_of
from worker.sdk.testing import ToldContext


def test_the_handlers_carry_their_task_types() -> None:
    """The decorator names the types that the entry points promise."""
    specs = [spec_of(noop), spec_of(sleep)]
    assert [spec.type for spec in specs if spec] == ["noop", "sleep"]


def test_noop_returns_nothing_by_itself(ctx: ToldContext) -> None:
    """Nothing in, nothing out, nothing told."""
    assert noop(ctx) == {}
    assert ctx.told.progress == []


@pytest.mark.parametrize("value", [0, False, "", [], {"a": [1, None]}, "text"])
def test_noop_returns_the_value_that_it_was_given(ctx: ToldContext, value: object) -> None:
    """Also values that are false."""
    assert noop(ctx, value=value) == {"value": value}


def test_sleep_tells_every_step_and_how_long_it_slept(ctx: ToldContext) -> None:
    """Progress goes to 1, in equal steps; the time is measured."""
    result = sleep(ctx, seconds=0.05, steps=5)
    assert [ratio for ratio, _ in ctx.told.progress] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert ctx.told.progress[-1][1] == "step 5 of 5"
    assert result["steps"] == 5
    assert result["seconds"] >= 0.05


def test_sleep_of_no_time_ends_at_once(ctx: ToldContext) -> None:
    """Zero seconds are all steps at once."""
    assert sleep(ctx, seconds=0, steps=3)["steps"] == 3
    assert len(ctx.told.progress) == 3


@pytest.mark.parametrize("kind", ["before", "meanwhile"])
def test_sleep_stops_when_it_is_asked(ctx: ToldContext, kind: str) -> None:
    """It does not sleep to its end, nor to the end of a step."""
    asked = (
        threading.Timer(0.05, ctx.ask_to_stop) if kind == "meanwhile" else threading.Timer(0, lambda: None)
    )
    if kind == "before":
        ctx.ask_to_stop()
    asked.start()
    started_mono = time.monotonic()
    with pytest.raises(Cancelled):
        sleep(ctx, seconds=600, steps=1)
    asked.join()
    assert time.monotonic() - started_mono < 60  # of 600: a bound for the slowest machine


@pytest.mark.parametrize(
    ("seconds", "steps", "named"),
    [
        (-1, 1, "seconds"),
        (float("nan"), 1, "seconds"),
        (float("inf"), 1, "seconds"),
        (1, 0, "steps"),
        (1, 10**6, "steps"),
    ],
)
def test_sleep_refuses_what_cannot_be_slept(ctx: ToldContext, seconds: float, steps: int, named: str) -> None:
    """The message names the parameter."""
    with pytest.raises(Fail, match=f"^{named} must be"):
        sleep(ctx, seconds=seconds, steps=steps)
