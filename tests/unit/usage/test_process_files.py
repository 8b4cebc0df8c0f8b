"""A process that is read through files that stay open."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator

import pytest

from tests.unit.usage.burner import Burner
from worker.clock import SystemClock
from worker.usage import process, process_files
from worker.usage.meter import Meter
from worker.usage.process import Key, Memory, memory_of, read_process, read_tree
from worker.usage.process_files import ProcessFiles
from worker.usage.source import Source, source_of, source_of_this_system

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
MIB = 1 << 20


@pytest.fixture
def burner() -> Iterator[Burner]:
    """Give a child that does what it is told."""
    with Burner() as one:
        yield one


@pytest.fixture
def files(burner: Burner) -> Iterator[ProcessFiles]:
    """Give its files."""
    one = ProcessFiles(burner.pid)
    yield one
    one.close()


def test_they_say_what_is_said_by_pid(burner: Burner, files: ProcessFiles) -> None:
    """Again and again, in full and for the CPU alone."""
    for order in ("burn(0.02)", "hold(30)", "children(2)"):
        burner.order(order)
        for is_full in (True, False):
            plain = read_process(burner.pid, is_full=is_full)
            assert plain is not None
            assert files.read(is_full=is_full) == plain
    assert files.read(is_full=True) is not None


def test_the_memory_of_a_process_is_read_again_where_a_page_came_or_went(
    burner: Burner, files: ProcessFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of what a look costs; who stood still holds what it held, also after its mark was set back."""
    read: list[bool] = []

    def counted(status: bytes | None) -> Memory:
        read.append(True)
        return memory_of(status)

    monkeypatch.setattr(process_files, "memory_of", counted)  # patched: what is not read shows in no figure
    with tempfile.NamedTemporaryFile(dir=".", prefix=".mapped-") as file:
        file.write(bytes(16 * MIB))
        file.flush()
        for order in ("1 + 1", f"map_file({file.name!r})", "unmap_file()", "hold(8)"):
            burner.order(order)
            assert files.read(is_full=True) == read_process(burner.pid)
            assert read.pop()
            assert files.read(is_full=True) == read_process(burner.pid)
            assert not read
    for _ in range(2):
        assert files.reset_peak() == ""
        assert files.read(is_full=True) == read_process(burner.pid)
    assert read  # once, or twice where the mark is beside what it holds: kernels add up both in their own way


def test_children_of_each_of_its_threads_are_found(burner: Burner, files: ProcessFiles) -> None:
    """Of the first, and of those that come later; and nobody where there is nobody."""
    source = source_of(files)
    assert [key.pid for key in source.read_tree(burner.pid, (), True)] == [burner.pid]
    for order in ("nursery(0)", "nursery_of_a_thread()"):
        pid = int(burner.order(order))
        tree = source.read_tree(burner.pid, (), True)
        assert {key.pid for key in tree} == {burner.pid, pid}
        assert tree.keys() == read_tree(burner.pid).keys()
        burner.order(f"os.kill({pid}, 9) or os.waitpid({pid}, 0)")


def test_a_child_that_cannot_be_read_is_left_all_the_same(
    burner: Burner, files: ProcessFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is unknown is not clean: the kernel lists it, though no file of it can be opened just then."""
    pid = int(burner.order("nursery(0)"))
    # Patched: no test can have the kernel refuse one process's files alone.
    monkeypatch.setattr(
        process,
        "read_process",
        lambda at, *, is_full: None if at == pid else read_process(at, is_full=is_full),
    )
    meter = Meter(burner.pid, SystemClock(), source=source_of(files))
    meter.start()
    left = meter.look_last()
    assert left is not None
    assert left.child_pids == frozenset({pid})


@pytest.mark.parametrize("threads", [1, 2])
def test_children_that_cannot_be_listed_are_unknown(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the first thread or of another: who judges by them must look for himself."""
    files = ProcessFiles(os.getpid())
    if threads == 1:
        files.close()
    # Patched: a thread that ends between the list of threads and its own list.
    monkeypatch.setattr(ProcessFiles, "_other_lists", lambda _: [None])
    files.child_pids(threads)
    files.close()
    assert files.listed is None


def test_children_of_a_thread_that_came_for_another_are_found(burner: Burner, files: ProcessFiles) -> None:
    """The files of one that has ended say nothing of the only one that there is now."""
    source = source_of(files)
    burner.order("idle_thread()")
    for _ in range(2):
        assert [key.pid for key in source.read_tree(burner.pid, (), True)] == [burner.pid]
    burner.order("end_idle_thread()")
    pid = int(burner.order("nursery_of_a_thread()"))
    for _ in range(2):
        assert {key.pid for key in source.read_tree(burner.pid, (), True)} == {burner.pid, pid}
    burner.order(f"os.kill({pid}, 9) or os.waitpid({pid}, 0)")
    assert [key.pid for key in source.read_tree(burner.pid, (), True)] == [burner.pid]


def test_another_process_under_its_pid_is_not_read(burner: Burner, files: ProcessFiles) -> None:
    """Neither one that is known to have another start, nor any after its end."""
    assert files.read(is_full=True) is not None
    stranger = Key(burner.pid, 1)
    assert read_tree(burner.pid, [stranger], True, files) == {}
    burner.end()
    assert files.read(is_full=True) is None
    assert read_tree(burner.pid, (), True, files) == {}
    assert "could not be reset" in files.reset_peak()


def test_the_peak_is_set_back(burner: Burner, files: ProcessFiles) -> None:
    """What it held before and gave back is in no later mark."""
    burner.order("hold(64)")
    before = files.read(is_full=True)
    assert files.reset_peak() == ""
    after = files.read(is_full=True)
    assert before is not None
    assert after is not None
    assert (before.hwm_bytes or 0) - (after.hwm_bytes or 0) > 50 * MIB


def test_where_there_is_no_proc_any_tree_is_read(
    files: ProcessFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on other systems than Linux."""
    portable = Source(lambda pid, known, is_full: {}, "psutil", "psutil")
    # Patched: this system has /proc.
    monkeypatch.setattr("worker.usage.source.source_of_this_system", lambda: portable)
    assert source_of(files) is portable


def test_no_descriptor_is_left(burner: Burner) -> None:
    """They are closed with the child that they are of."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only
    files = ProcessFiles(burner.pid)
    source_of(files).read_tree(burner.pid, (), True)
    files.reset_peak()
    files.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - names only
    assert source_of_this_system().read_tree(burner.pid, (), True)
