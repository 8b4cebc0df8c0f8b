"""How long a run may be silent: counted from what was asked, ended with a margin."""

from __future__ import annotations

import pytest

from worker.executor.lease import Lease


def test_without_a_lease_a_run_may_be_silent_for_ever() -> None:
    """Servers of the documented API give none."""
    lease = Lease()
    lease.renew(10.0, None)
    assert lease.freeze_mono == float("inf")
    assert lease.length_s is None


@pytest.mark.parametrize(("length_s", "freeze_mono"), [(90.0, 185.0), (4.0, 103.0), (20.0, 115.0)])
def test_a_run_stands_still_before_its_lease_ends(length_s: float, freeze_mono: float) -> None:
    """Counted from the sending of what was answered; the margin is a quarter, five seconds at most."""
    lease = Lease()
    lease.renew(100.0, length_s)
    assert lease.freeze_mono == freeze_mono


def test_answers_that_come_late_or_in_disorder_never_shorten_it() -> None:
    """An earlier request may be answered after a later one; and an answer without a lease keeps the last."""
    told = []
    lease = Lease()
    lease.renew(100.0, 90.0)
    lease.on_renewed = lambda: told.append(lease.freeze_mono)
    lease.renew(120.0, 90.0)
    lease.renew(110.0, 90.0)
    lease.renew(130.0, None)
    assert told == [205.0, 205.0, 215.0]
