"""How long a job will take yet."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.dashboard.time_left import about, time_left
from server.store.outcomes import Pace
from server.store.records import JobRecord

MEAN = Pace(10.0, 100)
NONE = Pace(None, 0)


def job(
    pending: int = 0,
    running: int = 0,
    stopped: int = 0,
    *,
    done: float = 0.0,
    state: str = "active",
    won: int = 0,
) -> JobRecord:
    """Return a job whose running tasks are done by so much, all together."""
    count = pending + running + stopped
    return JobRecord(
        id="j", created_by="me", title=None, org_id="o", scheduler_state=state, type=None, created_at="",
        updated_at="", parameters=msgspec.Raw(b"{}"), task_status_pending=pending,
        task_status_running=running, task_status_stopped=stopped, task_count=count,
        task_progress=(stopped + done) / count if count else 0, task_result_failures=stopped - won,
        task_result_successes=won, priority=0, status="running",
    )  # fmt: skip


def seconds_of(one: JobRecord, pace: Pace) -> float:
    """Return the time that is left, which must be known."""
    found = time_left(one, pace)
    assert found is not None
    assert found.seconds is not None
    return found.seconds


def test_tasks_that_are_left_take_as_long_as_those_before() -> None:
    """Divided by how many are at work; of a running one what its progress leaves."""
    found = time_left(job(pending=30, running=10, stopped=5), MEAN)
    assert found is not None
    assert found.seconds == pytest.approx(40.0)
    assert found.why == "by the 100 newest successes, with 10 at work"
    half = time_left(job(running=1, stopped=5, done=0.5), Pace(10.0, 1))
    assert half is not None
    assert half.seconds == pytest.approx(5.0)
    assert half.why == "by the newest success, with 1 at work"


@pytest.mark.parametrize(
    ("one", "pace", "why"),
    [
        (job(pending=5, running=1), NONE, "nothing has finished yet"),
        (job(pending=5), NONE, "nothing has finished yet"),
        (job(pending=5, stopped=1, won=1), NONE, "nothing has succeeded lately"),
        (job(pending=5, stopped=1, won=1), MEAN, "nothing runs"),
        (job(pending=5, running=1, state="paused"), MEAN, "paused"),
        (job(pending=5, state="on hold"), NONE, "on hold"),
    ],
)
def test_what_is_unknown_has_a_reason(one: JobRecord, pace: Pace, why: str) -> None:
    """And no number."""
    found = time_left(one, pace)
    assert found is not None
    assert (found.seconds, found.why) == (None, why)


@pytest.mark.parametrize(
    "one", [job(), job(stopped=3), job(pending=3, state="cancelled"), job(running=1, state="stopped")]
)
def test_where_nothing_is_left_to_do_nothing_is_said(one: JobRecord) -> None:
    """A finished job has no time left, and neither has one that a person ended."""
    assert time_left(one, MEAN) is None


@given(
    pending=st.integers(0, 10**6),
    running=st.integers(1, 10**5),
    stopped=st.integers(0, 10**6),
    done=st.floats(0, 1),
    mean_s=st.floats(0, 10**6),
)
def test_the_time_is_between_one_round_less_and_all_of_it(
    pending: int, running: int, stopped: int, done: float, mean_s: float
) -> None:
    """Running tasks count between nothing and whole; more to do is no shorter, more at work no longer."""
    pace = Pace(mean_s, 9)
    found = seconds_of(job(pending, running, stopped, done=done * running), pace)
    slack = 1e-6 * mean_s * (pending + running + stopped + 1)
    least, most = pending * mean_s / running, (pending + running) * mean_s / running
    assert least - slack <= found <= most + slack
    more = seconds_of(job(pending + 1, running, stopped, done=done * running), pace)
    faster = seconds_of(job(pending, 2 * running, stopped, done=done * running + running), pace)
    assert faster - slack <= found <= more + slack


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "about 5 s"), (7.0, "about 5 s"), (58.0, "about 1 min"), (60.0, "about 1 min"),
        (89.0, "about 1 min"), (91.0, "about 2 min"), (3_599.0, "about 1 h"), (3_600.0, "about 1 h"),
        (12_000.0, "about 3 h 20 min"), (86_399.0, "about 1 d"), (100_000.0, "about 1 d 4 h"),
        (10**9, "about 11,574 d 2 h"),
    ],
)  # fmt: skip
def test_a_time_is_said_roughly(seconds: float, said: str) -> None:
    """No parts that nobody knows."""
    assert about(seconds) == said


@given(st.floats(0, 10**10) | st.floats(0, 2 * 86_400))
@example(127.0)
@example(149.9)
def test_what_is_said_is_near_what_is_meant(seconds: float) -> None:
    """Within half a step of the unit, and never nothing."""
    units = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
    told = sum(
        int(n.replace(",", "")) * units[unit] for n, unit in re.findall(r"([\d,]+) (\w+)", about(seconds))
    )
    assert told > 0
    most = 5.0 if seconds < 60 else 30.0 if seconds < 3_600 else 150.0 if seconds < 86_400 else 1_800.0
    assert abs(told - seconds) <= most
