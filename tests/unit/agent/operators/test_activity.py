"""What is noted of the agent's work."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulation.loop import VirtualClock, run_virtual
from worker.agent.operators.activity import BOUNDS_S, Activity
from worker.api.wire import ErrorKind, ResultCode
from worker.executor.outcome import Outcome, RunError
from worker.reporting.report import RunState
from worker.usage.usage import Usage


def begin(activity: Activity, run_id: str, type_: str = "noop") -> None:
    """Note a run that goes on."""
    activity.begin(run_id=run_id, task_id="t", type_=type_, gpus=(), state=RunState())


def ended(wall_s: float | None, kind: ErrorKind | None = None) -> Outcome:
    """Return an outcome; it succeeded where it has no error."""
    error = None if kind is None else RunError(kind=kind, message="no")
    code = ResultCode.SUCCESS if kind is None else ResultCode.FAILED
    return Outcome(code=code, error=error, usage=Usage(wall_s=wall_s))


def test_a_run_is_counted_by_its_type_and_what_became_of_it() -> None:
    """While it goes on it is listed, and afterwards only counted."""

    async def main() -> Activity:
        activity = Activity(VirtualClock())
        for run_id, outcome in (("a", ended(1.0)), ("b", ended(2.0)), ("c", ended(3.0, ErrorKind.CRASHED))):
            begin(activity, run_id)
            assert list(activity.going) == [run_id]
            activity.end(run_id, outcome)
            activity.leave(run_id)
        return activity

    activity = run_virtual(main())
    assert activity.going == {}
    assert activity.ended == {("noop", "success"): 2, ("noop", "crashed"): 1}
    assert activity.durations["noop"].sum_s == pytest.approx(6.0)


def test_a_run_that_ends_by_no_outcome_is_listed_no_more() -> None:
    """The agent itself failed it, or is cancelled; leaving twice harms nothing."""

    async def main() -> Activity:
        activity = Activity(VirtualClock())
        begin(activity, "a")
        activity.leave("a")
        activity.leave("a")
        return activity

    activity = run_virtual(main())
    assert (activity.going, activity.ended, activity.durations) == ({}, {}, {})


@pytest.mark.parametrize(
    ("wall_s", "at"),
    [(0.0, 0), (BOUNDS_S[0], 0), (BOUNDS_S[0] + 0.01, 1), (BOUNDS_S[-1], -2), (BOUNDS_S[-1] + 1.0, -1)],
)
def test_a_duration_counts_in_the_range_that_ends_at_or_above_it(wall_s: float, at: int) -> None:
    """As Prometheus means its `le`."""

    async def main() -> Activity:
        activity = Activity(VirtualClock())
        begin(activity, "a")
        activity.end("a", ended(wall_s))
        return activity

    counts = run_virtual(main()).durations["noop"].counts
    assert (counts[at], sum(counts), len(counts)) == (1, 1, len(BOUNDS_S) + 1)


def test_a_duration_that_is_unknown_is_not_counted_as_zero() -> None:
    """The run itself is."""

    async def main() -> Activity:
        activity = Activity(VirtualClock())
        begin(activity, "a")
        activity.end("a", ended(None, ErrorKind.INTERNAL))
        return activity

    activity = run_virtual(main())
    assert activity.durations == {}
    assert activity.ended == {("noop", "internal"): 1}


def test_ages_are_unknown_until_the_server_answered_once() -> None:
    """A poll that failed makes nothing younger; contact is for good."""

    async def main() -> None:
        activity = Activity(VirtualClock())
        activity.polled(False)
        assert (activity.poll_age_s, activity.report_age_s, activity.has_contact) == (None, None, False)
        activity.polled(True)
        await asyncio.sleep(5.0)
        activity.polled(False)
        activity.polled(False)
        assert (activity.poll_age_s, activity.report_age_s) == (5.0, None)
        assert (activity.has_contact, activity.polls_failed) == (True, 2)
        assert activity.polls == {True: 1, False: 3}
        activity.reported()
        await asyncio.sleep(2.0)
        activity.polled(True)
        assert (activity.poll_age_s, activity.report_age_s, activity.polls_failed) == (0.0, 2.0, 0)

    run_virtual(main())
