"""The arithmetic of a tree's CPU: births, deaths, adoptions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.usage.ledger import Cpu, CpuLedger, split
from worker.usage.process import Key, ProcessReading


def reading(pid: int, parent: int, own_s: float, reaped_s: float = 0.0) -> ProcessReading:
    """Return a reading of a process, all of it user time."""
    return ProcessReading(
        key=Key(pid, pid),
        parent_pid=parent,
        threads=1,
        own_s=own_s,
        own_system_s=0.0,
        reaped_s=reaped_s,
        reaped_system_s=0.0,
        has_reaped=reaped_s > 0,
        is_exact=True,
    )


def tree(*readings: ProcessReading) -> dict[Key, ProcessReading]:
    """Return readings by key, as a source gives them."""
    return {one.key: one for one in readings}


def test_a_child_that_was_waited_for_is_counted_once() -> None:
    """Its CPU moves to the parent, and the sum stays."""
    ledger = CpuLedger(tree(reading(1, 0, 1.0)))
    assert ledger.update(tree(reading(1, 0, 1.0), reading(2, 1, 3.0))).user_s == 3.0
    assert ledger.update(tree(reading(1, 0, 1.0, reaped_s=3.0))).user_s == 3.0


def test_a_child_that_nobody_waited_for_is_kept() -> None:
    """Where the parent ignores SIGCHLD, the last reading of the dead child stays on the bill."""
    ledger = CpuLedger(tree(reading(1, 0, 1.0)))
    ledger.update(tree(reading(1, 0, 1.0), reading(2, 1, 3.0)))
    assert ledger.update(tree(reading(1, 0, 1.5))).user_s == 3.5


def test_a_subtree_that_ends_at_once_goes_to_the_ancestor_that_lives() -> None:
    """Child and grandchild that end between two readings are found in what the root reaped."""
    ledger = CpuLedger(tree(reading(1, 0, 0.0)))
    ledger.update(tree(reading(1, 0, 0.0), reading(2, 1, 1.0), reading(3, 2, 2.0)))
    assert ledger.update(tree(reading(1, 0, 0.0, reaped_s=3.0))).user_s == 3.0


def test_an_orphan_that_ends_elsewhere_is_kept_whole() -> None:
    """A process whose parent is outside the tree has no heir in it."""
    ledger = CpuLedger(tree(reading(1, 0, 0.0)))
    ledger.update(tree(reading(1, 0, 0.0), reading(7, 99, 2.0)))
    assert ledger.update(tree(reading(1, 0, 0.5))).user_s == 2.5


def test_ticks_that_are_cut_off_are_no_loss() -> None:
    """What the parent inherited may lack two cut ticks; that is not charged twice."""
    ledger = CpuLedger(tree(reading(1, 0, 0.0)))
    ledger.update(tree(reading(1, 0, 0.0), reading(2, 1, 0.0843)))
    assert ledger.update(tree(reading(1, 0, 0.0, reaped_s=0.08))).user_s == 0.0843
    assert ledger.update(tree(reading(1, 0, 0.01, reaped_s=0.08))).user_s == 0.09


def test_what_was_there_before_is_not_charged() -> None:
    """A process of an earlier run that ends during this one changes nothing."""
    ledger = CpuLedger(tree(reading(1, 0, 5.0), reading(2, 1, 4.0)))
    assert ledger.update(tree(reading(1, 0, 5.0, reaped_s=4.0))) == Cpu(0.0, 0.0)


def test_a_reused_pid_is_another_process() -> None:
    """A process with the pid of a dead one starts from nothing."""
    ledger = CpuLedger(tree(reading(1, 0, 0.0)))
    ledger.update(tree(reading(1, 0, 0.0), reading(2, 1, 2.0)))
    newcomer = reading(2, 1, 0.5)._replace(key=Key(2, 999))
    assert ledger.update(tree(reading(1, 0, 0.0, reaped_s=2.0), newcomer)).user_s == 2.5


def test_the_parts_add_up_and_never_fall() -> None:
    """A tick that jumps from user to system takes nothing from what was said before."""
    first = split(Cpu(0.0, 0.0), 0.0843, 0.03)
    second = split(first, 0.0844, 0.04)
    assert second.user_s >= first.user_s
    assert second.system_s >= first.system_s
    assert abs(second.user_s + second.system_s - 0.0844) < 1e-12


def test_a_total_that_fell_is_held() -> None:
    """A reading below an earlier one (a clock that a hypervisor turned) leaves the bill as it was."""
    assert split(Cpu(2.0, 1.0), 2.5, 0.5) == Cpu(2.0, 1.0)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=20))
def test_no_part_falls_by_the_last_bit_of_a_difference(samples: list[tuple[float, float]]) -> None:
    """Whatever floats come in: a counter that falls by 1e-18 is a counter that falls."""
    before = Cpu(0.0, 0.0)
    for total_s, system_s in samples:
        after = split(before, total_s, system_s)
        assert after.user_s >= before.user_s
        assert after.system_s >= before.system_s
        before = after
