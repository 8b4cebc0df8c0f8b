"""What a run read and wrote: the arithmetic of a tree's counters, and real processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.unit.usage.burner import Burner
from worker.clock import SystemClock
from worker.usage.disk import Disk, DiskLedger
from worker.usage.meter import Meter
from worker.usage.process import Key, ProcessReading
from worker.usage.rusage import Rusage

MIB = 1 << 20
ROOT = Key(1, 1)


def reading(pid: int, read: int | None, written: int | None) -> ProcessReading:
    """Return a reading of which only the disk counts."""
    blank = ProcessReading(Key(pid, pid), 0, 1, 0.0, 0.0, 0.0, 0.0, has_reaped=False, is_exact=True)
    return blank._replace(read_bytes=read, written_bytes=written)


def tree(*readings: ProcessReading) -> dict[Key, ProcessReading]:
    """Return readings by key."""
    return {one.key: one for one in readings}


def begun(read: int = 100, written: int = 50) -> DiskLedger:
    """Return a ledger that starts at a root which did something before."""
    root = reading(1, read, written)
    return DiskLedger(root, tree(root))


def test_what_was_there_before_is_not_charged() -> None:
    """A warm child's earlier runs are not this run's."""
    ledger = begun()
    ledger.update(tree(reading(1, 130, 55)))
    assert ledger.disk == Disk(30, 5)


def test_a_child_that_was_waited_for_is_counted_once() -> None:
    """The kernel passes its counts on; the sum stays."""
    ledger = begun()
    ledger.update(tree(reading(1, 100, 50), reading(2, 10, 20)))
    ledger.update(tree(reading(1, 110, 70)))
    assert ledger.disk == Disk(10, 20)


def test_a_child_that_nobody_waited_for_is_kept() -> None:
    """Its last reading stays on the bill."""
    ledger = begun()
    ledger.update(tree(reading(1, 100, 50), reading(2, 10, 20)))
    ledger.update(tree(reading(1, 100, 50)))
    assert ledger.disk == Disk(10, 20)


def test_the_end_is_what_wait4_says() -> None:
    """Blocks of 512 bytes, less what came before."""
    ledger = begun(1024, 512)
    ledger.settle(ROOT, Rusage(0.0, 0.0, 0, ru_inblock=4, ru_oublock=9), {})
    assert ledger.disk == Disk(1024, 4096)


def test_a_process_of_another_user_is_unknown_with_the_reason() -> None:
    """Never 0; and it stays unknown at the end, since nobody knows what was there before."""
    root = reading(1, None, None)
    ledger = DiskLedger(root, tree(root))
    ledger.update(tree(root))
    ledger.settle(ROOT, Rusage(0.0, 0.0, 0, 4, 9), {})
    assert ledger.disk is None
    assert "/proc/1/io" in ledger.reason


def test_a_part_of_the_tree_that_cannot_be_read_is_told() -> None:
    """What the others did is a lower bound, and says so."""
    ledger = begun()
    ledger.update(tree(reading(1, 110, 50), reading(2, None, None)))
    assert ledger.disk == Disk(10, 0)
    assert "1 processes" in ledger.reason


def test_a_process_that_does_not_tell_for_a_moment_has_not_ended() -> None:
    """Its last counters stand until it tells again; what it did before the run stays uncharged."""
    ledger = begun(1000, 500)
    ledger.update(tree(reading(1, None, None)))
    assert ledger.disk == Disk(0, 0)
    assert "1 processes" in ledger.reason
    ledger.update(tree(reading(1, 1010, 505)))
    assert ledger.disk == Disk(10, 5)
    assert ledger.reason == ""


def test_what_a_process_tells_first_after_the_start_is_not_all_of_this_run() -> None:
    """It was there before, and what it had done by then is not known: what it does from now on counts."""
    root = reading(1, 100, 50)
    ledger = DiskLedger(root, tree(root, reading(2, None, None)))
    ledger.update(tree(root, reading(2, 7000, 8000)))
    assert ledger.disk == Disk(0, 0)
    ledger.update(tree(root, reading(2, 7001, 8002)))
    assert ledger.disk == Disk(1, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_child_and_its_children_write_is_on_the_bill(tmp_path: Path) -> None:
    """Sixteen MiB by a warm child itself, four by an ended child of it; nothing that came before the run."""
    folder = next((one for one in (tmp_path, Path.cwd()) if not is_memory(one)), None)
    if folder is None:
        pytest.skip("no folder here is on a device")
    target = folder / f".written-{os.getpid()}"
    try:
        with Burner() as burner:
            burner.order(f"write({str(target)!r}, 8)")
            meter = Meter(burner.pid, SystemClock())
            meter.start()
            burner.order(f"write({str(target)!r}, 16)")
            burner.order(f"child_writes({str(target)!r}, 4)")
            usage = meter.sample()
            ended = meter.finish(burner.end())
    finally:
        target.unlink(missing_ok=True)
    assert usage.disk_written_bytes == pytest.approx(20 * MIB, rel=0.02)
    assert ended.disk_written_bytes == pytest.approx(20 * MIB, rel=0.02)
    assert usage.methods["disk_written_bytes"] == "proc_io_tree"


def is_memory(folder: Path) -> bool:
    """Tell whether a folder is on a tmpfs, which writes to no device."""
    best = ("", "")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        point, kind = line.split()[1:3]
        if folder.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1] in ("tmpfs", "ramfs")
