"""Counters that stay open between runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.unit.usage.burner import Burner
from worker.minder import kept_file
from worker.minder.files import ONCE_BYTES, read_once
from worker.minder.kept_file import KeptFile


def test_each_reading_is_of_now(tmp_path: Path) -> None:
    """It is open all the time, and read from its beginning each time."""
    path = tmp_path / "counter"
    path.write_text("1\n")
    file = KeptFile(str(path))
    assert file.read() == b"1\n"
    with path.open("r+") as same:
        same.write("22\n")
    assert file.read() == b"22\n"
    file.close()


def test_one_that_is_not_there_yet_is_read_when_it_is(tmp_path: Path) -> None:
    """Nothing is remembered of a failure."""
    file = KeptFile(str(tmp_path / "counter"))
    assert file.read() is None
    (tmp_path / "counter").write_text("1")
    assert file.read() == b"1"
    file.close()


def test_nothing_is_read_after_its_end(tmp_path: Path) -> None:
    """Its name may be another's by then; closing it again does no harm, also not to another's descriptor."""
    path = tmp_path / "counter"
    path.write_text("1")
    file = KeptFile(str(path))
    assert file.read() == b"1"
    file.close()
    with path.open() as other:
        file.close()
        assert other.read() == "1"
    assert file.read() is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.write(b"1")


def test_no_more_are_kept_than_the_bound_and_all_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Descriptors are for children and connections; beyond the bound a file is opened for each reading."""
    # Patched: three are as good as 256.
    monkeypatch.setattr(kept_file, "KEPT_MOST", KeptFile.kept + 3)
    paths = [tmp_path / str(number) for number in range(5)]
    for path in paths:
        path.write_text(path.name)
    before = open_descriptors()
    files = [KeptFile(str(path)) for path in paths]
    for _ in range(2):
        assert [file.read() for file in files] == [b"0", b"1", b"2", b"3", b"4"]
    assert open_descriptors() == before + 3
    for file in files:
        file.close()
    assert open_descriptors() == before


def test_a_long_one_is_read_to_its_end(tmp_path: Path) -> None:
    """`status` names every group of a user before it tells of memory."""
    text = "x" * (2 * ONCE_BYTES) + "the end"
    path = tmp_path / "status"
    path.write_text(text)
    file = KeptFile(str(path))
    assert file.read() == read_once(str(path)) == text.encode()
    file.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_is_gone_is_not_read() -> None:
    """Whoever has its pid next is another one; a zombie still tells what it has used."""
    with Burner() as burner:
        file = KeptFile(f"/proc/{burner.pid}/stat")
        assert file.read()
        os.kill(burner.pid, 9)
        os.waitid(os.P_PID, burner.pid, os.WEXITED | os.WNOWAIT)
        assert b") Z " in (file.read() or b"")
        os.waitpid(burner.pid, 0)
        assert file.read() is None
        file.close()


def open_descriptors() -> int:
    """Return how many files this process has open, that of the look itself not counted."""
    return len(os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"))  # noqa: PTH208
