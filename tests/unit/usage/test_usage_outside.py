"""What a run consumes outside of its processes is added to its bill, with its method, or makes it unknown."""

from __future__ import annotations

import pytest

from worker.usage.ledger import CpuLedger
from worker.usage.outside import Outside, OutsideLedger
from worker.usage.process import Key, ProcessReading
from worker.usage.readings import keys_below
from worker.usage.usage import Usage

OWN = Usage(
    wall_s=10.0, cpu_user_s=1.0, cpu_system_s=0.5, ram_peak_bytes=100, ram_average_bytes=50,
    disk_read_bytes=7, disk_written_bytes=8, complete=True,
    methods={"cpu_user_s": "wait4", "ram_peak_bytes": "vm_hwm"},
    coverage={"cpu_user_s": 1.0, "disk_read_bytes": 1.0},
)  # fmt: skip
TOLD = Outside("box", 2.0, 0.25, 30, 40, None, None, True)


def test_nothing_told_changes_nothing() -> None:
    """Most runs have no outside."""
    assert OutsideLedger().added_to(OWN) is OWN


def test_what_is_told_is_added_and_named() -> None:
    """CPU exactly, memory's peaks as an upper bound, its average over the whole run; the disk is unknown."""
    ledger = OutsideLedger()
    ledger.begin(0.0)
    ledger.take(TOLD._replace(is_last=False), 4.0)
    ledger.take(TOLD._replace(ram_bytes=0), 10.0)
    bill = ledger.added_to(OWN)
    assert (bill.cpu_user_s, bill.cpu_system_s, bill.ram_peak_bytes) == (3.0, 0.75, 140)
    assert bill.ram_average_bytes == 50 + round((15 * 4 + 15 * 6) / 10)
    assert bill.methods["cpu_user_s"] == "wait4+box"
    assert bill.disk_read_bytes is bill.disk_written_bytes is None
    assert "not measured" in bill.reasons["disk_read_bytes"]
    assert "disk_read_bytes" not in bill.coverage
    assert bill.complete


def test_what_was_not_told_to_the_end_is_not_complete() -> None:
    """A process that was killed could not tell the last."""
    ledger = OutsideLedger()
    ledger.take(TOLD._replace(is_last=False), 1.0)
    bill = ledger.added_to(OWN)
    assert not bill.complete
    assert "last look" in bill.reasons["cpu_user_s"]


def test_what_is_unknown_outside_makes_the_sum_unknown() -> None:
    """The run's own part alone would be too little."""
    ledger = OutsideLedger()
    ledger.take(Outside("none", None, None, None, None, None, "hidden", True), 1.0)
    bill = ledger.added_to(OWN)
    assert bill.cpu_user_s is bill.cpu_system_s is bill.ram_peak_bytes is bill.ram_average_bytes is None
    assert bill.reasons["cpu_user_s"] == "hidden"
    assert "cpu_user_s" not in bill.methods
    assert bill.complete


def reading(pid: int, parent_pid: int, own_s: float) -> ProcessReading:
    """Return a reading of a process."""
    return ProcessReading(Key(pid, pid), parent_pid, 1, own_s, 0.0, 0.0, 0.0, False, True)


def test_nothing_is_counted_twice() -> None:
    """A container that is seen below the run's process too is left out of its tree from when it is told."""
    first = {one.key: one for one in (reading(1, 0, 1.0),)}
    ledger = CpuLedger(first)
    seen = {
        one.key: one
        for one in (reading(1, 0, 1.0), reading(5, 1, 0.5), reading(6, 5, 9.0), reading(7, 6, 1.0))
    }
    out = keys_below(6, seen)
    assert {key.pid for key in out} == {6, 7}
    rest = {key: one for key, one in seen.items() if key not in out}
    ledger.update({**rest, **{key: seen[key]._replace(own_s=0.1) for key in out}})
    ledger.forget(out)
    cpu = ledger.update({key: one._replace(own_s=one.own_s + 1.0) for key, one in rest.items()})
    assert cpu.user_s == pytest.approx(2.5)  # 1.0 and 1.5 of 1 and 5, nothing of 6 and 7
