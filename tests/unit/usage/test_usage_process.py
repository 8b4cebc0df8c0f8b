"""Reading one process and the tree below it from /proc."""

from __future__ import annotations

import os
import sys

import pytest

from tests.unit.usage.burner import Burner
from worker.usage.process import Key, child_pids, children_by_scan, read_process, read_tree
from worker.usage.source import read_tree_with_psutil

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_tree_is_read_from_the_root_down() -> None:
    """Child and grandchild are there, each once, with their parents."""
    with Burner() as burner:
        grandchild = int(burner.order("nursery(0)"))
        readings = read_tree(os.getpid())
        burner.order(f"os.kill({grandchild}, 9) or os.waitpid({grandchild}, 0)")
    parents = {key.pid: reading.parent_pid for key, reading in readings.items()}
    assert parents[grandchild] == burner.pid
    assert parents[burner.pid] == os.getpid()


def test_children_of_other_threads_are_found() -> None:
    """A child belongs to the thread that started it; all threads are asked."""
    with Burner() as burner:
        grandchild = int(burner.order("nursery_of_a_thread()"))
        found = {key.pid for key in read_tree(burner.pid)}
        burner.order(f"os.kill({grandchild}, 9) or os.waitpid({grandchild}, 0)")
    assert grandchild in found


def test_all_children_are_found_however_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells them in pieces, of a page: each piece counts."""
    read = os.read
    with Burner() as burner:
        pids = [int(burner.order("nursery(0)")) for _ in range(5)]
        # Patched: of pieces of eight bytes five children are many; of a page it takes more than 700.
        monkeypatch.setattr("worker.usage.process.os.read", lambda fd, size: read(fd, min(size, 8)))
        found = child_pids(burner.pid, 1)
        monkeypatch.undo()
        for pid in pids:
            burner.order(f"os.kill({pid}, 9) or os.waitpid({pid}, 0)")
    assert sorted(found) == sorted(pids)


def test_a_pid_that_the_bound_cuts_in_two_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a pid is another process."""
    # Patched: so that one child reaches the bound.
    monkeypatch.setattr("worker.usage.process.MAX_LIST_BYTES", 2)
    with Burner() as burner:
        pid = int(burner.order("nursery(0)"))
        found = child_pids(burner.pid, 1)
        burner.order(f"os.kill({pid}, 9) or os.waitpid({pid}, 0)")
    assert found == []


def test_a_scan_finds_the_same_children() -> None:
    """The way for kernels without `children` files."""
    with Burner() as burner:
        assert burner.pid in children_by_scan(os.getpid())


@pytest.mark.parametrize("read", [read_tree, read_tree_with_psutil])
def test_a_stranger_with_the_pid_of_the_root_is_not_read(read: object) -> None:
    """A pid that was used again is another process: its counters belong to nobody's bill."""
    assert callable(read)
    own = next(iter(read(os.getpid())))
    assert read(os.getpid(), [own])
    assert read(os.getpid(), [Key(os.getpid(), own.started_ticks - 1)]) == {}


def test_a_zombie_still_has_its_cpu_but_no_memory() -> None:
    """Between its end and wait4 a child can be read for the last time."""
    with Burner() as burner:
        burner.order("burn(0.03)")
        os.kill(burner.pid, 9)
        os.waitid(os.P_PID, burner.pid, os.WEXITED | os.WNOWAIT)
        reading = read_process(burner.pid)
    assert reading is not None
    assert reading.own_s >= 0.03
    assert (reading.ram_bytes, reading.hwm_bytes) == (None, None)


def test_a_process_that_is_gone_is_none() -> None:
    """No reading, and an empty tree."""
    with Burner() as burner:
        burner.end()
        assert read_process(burner.pid) is None
        assert read_tree(burner.pid) == {}
