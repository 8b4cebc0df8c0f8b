"""Limits and stops as decisions: times in, times out."""

import pytest

from worker.api.wire import ErrorKind
from worker.executor.deadlines import RunLimits, StopPlan
from worker.executor.evidence import StopReason
from worker.executor.limits import Limits

REASON = StopReason(ErrorKind.DRAINED, "the agent stops")


def test_an_import_has_its_own_limit_and_counts_for_no_other() -> None:
    """The wall limit begins when the handler is ready."""
    limits = RunLimits(10, Limits(), Limits(timeout_s=5), 100)
    assert limits.next_mono() == 110
    assert limits.hit(109.9) is None
    assert (reason := limits.hit(110)) is not None
    assert "importing" in reason.message
    limits.ready(Limits(), 109)
    assert limits.hit(113.9) is None
    assert limits.next_mono() == 114


@pytest.mark.parametrize(
    ("agents", "handlers", "expected"), [(None, None, None), (5, None, 5), (None, 3, 3), (5, 3, 3), (3, 5, 3)]
)
def test_the_nearer_wall_limit_holds(
    agents: float | None, handlers: float | None, expected: float | None
) -> None:
    """The agent-wide limit bounds what a handler allows itself."""
    limits = RunLimits(10, Limits(), Limits(timeout_s=agents), 0)
    limits.ready(Limits(timeout_s=handlers), 0)
    assert limits.now.timeout_s == expected
    assert limits.next_mono() == (float("inf") if expected is None else expected)


def test_progress_puts_the_limit_of_silence_off() -> None:
    """Each sign of progress begins the count again."""
    limits = RunLimits(10, Limits(), Limits(), 0)
    limits.ready(Limits(no_progress_s=2), 0)
    limits.progressed(1.5)
    assert limits.hit(3.4) is None
    assert (reason := limits.hit(3.5)) is not None
    assert reason.kind is ErrorKind.NO_PROGRESS


@pytest.mark.parametrize(("grace_s", "interrupt_s"), [(0, 0), (2, 1), (10, 5), (30, 25), (600, 595)])
def test_a_handler_is_interrupted_before_it_is_killed(grace_s: float, interrupt_s: float) -> None:
    """Half of a short grace, all but five seconds of a long one."""
    plan = StopPlan(REASON, grace_s, 100)
    assert (plan.interrupt_mono, plan.kill_mono) == (100 + interrupt_s, 100 + grace_s)


def test_only_a_nearer_deadline_changes_a_plan() -> None:
    """A later request cannot give a run more time."""
    plan = StopPlan(REASON, 10, 100)
    plan.hasten(20, 101)
    assert (plan.interrupt_mono, plan.kill_mono) == (105, 110)
    plan.hasten(1, 102)
    assert (plan.interrupt_mono, plan.kill_mono) == (102.5, 103)
