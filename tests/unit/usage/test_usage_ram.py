"""The memory of a run: averages, trees, paces."""

from __future__ import annotations

import pytest

from worker.usage.average import Average
from worker.usage.pace import Pace
from worker.usage.process import Key, ProcessReading
from worker.usage.ram import SHARES_BYTES, SHARES_MOST, Ram, held_by_tree

BLANK = ProcessReading(Key(0, 0), 0, 1, 0.0, 0.0, 0.0, 0.0, has_reaped=False, is_exact=True)


def reading(pid: int, ram: int | None, *, files: int = 0, hwm: int | None = None) -> ProcessReading:
    """Return a reading of which only the memory counts."""
    return BLANK._replace(key=Key(pid, pid), ram_bytes=ram, file_bytes=files, hwm_bytes=hwm)


def tree(*readings: ProcessReading) -> dict[Key, ProcessReading]:
    """Return readings by key."""
    return {one.key: one for one in readings}


def test_an_average_weighs_by_time() -> None:
    """Ten seconds at 100, then a second on the way to 200."""
    average = Average()
    for at_mono, value in ((0.0, 100), (10.0, 100), (11.0, 200)):
        average.add(at_mono, value)
    assert average.value == round((10 * 100 + 150) / 11)
    assert average.covered_s == 11.0


def test_an_average_of_one_sample_is_that_sample_and_of_none_unknown() -> None:
    """It covers nothing, which its coverage says; and None is not 0."""
    assert Average().value is None
    average = Average()
    average.add(5.0, 7)
    assert (average.value, average.covered_s) == (7, 0.0)


def test_pages_that_a_tree_shares_count_once() -> None:
    """Two processes that map the same hundred have fifty each."""
    shared = tree(reading(1, 100), reading(2, 100))
    assert held_by_tree(shared, lambda _: 50) == (100, "tree_pss_sampled")


def test_where_shares_cannot_be_read_the_sum_says_that_it_is_one() -> None:
    """It may be too high; one process alone shares with nobody in the tree, and needs no shares."""
    shared = tree(reading(1, 100), reading(2, 100))
    assert held_by_tree(shared, lambda pid: None if pid == 2 else 50) == (200, "tree_rss_sampled")
    assert held_by_tree(tree(reading(1, 100)), lambda _: 50) == (100, "tree_rss_sampled")
    assert held_by_tree(tree(reading(1, None))) is None


def test_shares_of_very_large_trees_are_not_added_up() -> None:
    """The kernel walks every page, and the agent would stand still meanwhile."""
    many = tree(*(reading(pid, 100) for pid in range(1, SHARES_MOST + 2)))
    assert held_by_tree(many, lambda _: 1) == (100 * (SHARES_MOST + 1), "tree_rss_sampled")
    large = tree(reading(1, SHARES_BYTES), reading(2, 1))
    assert held_by_tree(large, lambda _: 1) == (SHARES_BYTES + 1, "tree_rss_sampled")


def test_mapped_files_are_no_part_of_the_peak() -> None:
    """The kernel's mark counts them; what is mapped now is taken off."""
    ram = Ram()
    ram.start(reading(0, 10), {}, "it cannot be set back")
    ram.see(tree(reading(2, 10, files=300, hwm=400)))
    assert (ram.peak_bytes, ram.peak_method) == (100, "vm_hwm")


def test_a_file_that_was_unmapped_does_not_come_back_as_memory() -> None:
    """The mark keeps it for the whole run: only what the mark grew by since the last look says anything."""
    ram = Ram()
    ram.start(reading(1, 10), tree(reading(1, 10)))
    ram.see(tree(reading(1, 10, files=300, hwm=310)))
    ram.see(tree(reading(1, 10, hwm=310)))
    ram.see(tree(reading(1, 10, hwm=310)))
    assert ram.peak_bytes == 10
    ram.see(tree(reading(1, 10, hwm=350)))
    assert ram.peak_bytes == 350


def test_a_file_that_was_unmapped_while_the_mark_grew_is_taken_off() -> None:
    """It was there at the look before, and may have been when the mark grew."""
    ram = Ram()
    ram.start(reading(1, 10), tree(reading(1, 10)))
    ram.see(tree(reading(1, 10, files=300, hwm=310)))
    ram.see(tree(reading(1, 10, hwm=320)))
    assert ram.peak_bytes == 20


def test_at_the_end_a_file_that_was_unmapped_is_no_memory_and_may_have_hidden_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`ru_maxrss` no higher than the last mark tells nothing: the peak stays, and is not called final."""
    # Patched: what the parent of the process has is a number here.
    monkeypatch.setattr("worker.usage.ram.vm_hwm_bytes", lambda pid: 5)
    root = reading(1, 10, hwm=10)
    seen, unmapped = tree(reading(1, 10, files=300, hwm=310)), tree(reading(1, 10, hwm=310))
    hidden, plain = Ram(), Ram()
    for ram in (hidden, plain):
        ram.start(root, tree(root))
        ram.see(seen)
    hidden.see(unmapped)
    hidden.end(310, 0, is_sampled=False)
    assert (hidden.peak_bytes, hidden.is_final) == (10, False)
    plain.end(330, 0, is_sampled=False)
    assert (plain.peak_bytes, plain.peak_method, plain.is_final) == (30, "wait4_maxrss", True)


def test_a_mark_from_before_the_run_is_not_taken() -> None:
    """A process that was there at the start, and is not the root, keeps its earlier peak."""
    old = reading(2, 10, hwm=400)
    ram = Ram()
    ram.start(reading(0, 10), tree(old), "it cannot be set back")
    ram.see(tree(old))
    assert ram.peak_bytes is None


def test_costly_looks_are_seldom() -> None:
    """Ten seconds apart; a look of 30 ms comes every hundred, where it may take 0.03 % of a core."""
    pace = Pace(0.0003, 10.0)
    assert pace.is_due(0.0)
    pace.looked(0.0, 0.001)
    assert (pace.is_due(9.9), pace.is_due(10.0)) == (False, True)
    pace.looked(10.0, 0.03)
    assert (pace.is_due(109.0), pace.is_due(111.0)) == (False, True)
