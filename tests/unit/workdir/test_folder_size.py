"""What a folder takes on the disk, counted while its owner goes on to change it."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.workdir import hostile
from worker.executor.folder_size import FolderSize, Measurement

KIB = 1024


def measured(folder: Path, limit_s: float = 0.05, enough_bytes: int | None = None) -> FolderSize:
    """Measure a folder to the end."""
    measurement = Measurement(folder, enough_bytes)
    while (size := measurement.step(limit_s)) is None:
        pass
    return size


def by_du(folder: Path) -> int:
    """Return what du(1) says."""
    ran = subprocess.run(["du", "-sx", "--block-size=1", str(folder)], capture_output=True, check=True)
    return int(ran.stdout.split()[0])


def written(path: Path, size_bytes: int) -> None:
    """Write a file that takes its blocks now."""
    with path.open("wb") as file:
        file.write(b"x" * size_bytes)
        os.fsync(file.fileno())


@pytest.mark.parametrize("fill", hostile.EVERY)
def test_the_size_is_what_du_says(tmp_path: Path, fill: Callable[[Path], None]) -> None:
    """Whatever is in it; a locked folder only where we may look into it."""
    fill(tmp_path)
    written(tmp_path / "file", 300 * KIB)
    os.sync()
    before = len(list(Path("/proc/self/fd").iterdir()))
    size = measured(tmp_path)
    assert size.size_bytes == by_du(tmp_path)
    assert size.is_whole
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    subprocess.run(["chmod", "-R", "u+rwx", str(tmp_path)], check=True)
    subprocess.run(["rm", "-rf", *map(str, tmp_path.iterdir())], check=True)  # pytest's own cannot go so deep


def test_names_of_one_file_count_once_and_holes_nothing(tmp_path: Path) -> None:
    """Blocks are counted, not lengths."""
    empty = measured(tmp_path).size_bytes
    written(tmp_path / "file", 400 * KIB)
    os.link(tmp_path / "file", tmp_path / "again")
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 40)
    assert 400 * KIB <= measured(tmp_path).size_bytes - empty < 500 * KIB


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A link to a full disk takes nothing; a folder that is a link is not looked into."""
    outside = tmp_path / "outside"
    outside.mkdir()
    written(outside / "file", 400 * KIB)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    assert measured(folder).size_bytes < 100 * KIB
    (tmp_path / "alias").symlink_to(outside)
    assert measured(tmp_path / "alias") == FolderSize(0, 0, is_whole=False)


def test_a_measurement_ends_when_it_has_seen_enough(tmp_path: Path) -> None:
    """Else who goes on to fill a folder would keep it from ever being told."""
    hostile.many(tmp_path)
    written(tmp_path / "0.txt", 400 * KIB)
    size = measured(tmp_path, enough_bytes=1)
    assert size.size_bytes > 1
    assert size.files < 100
    assert not size.is_whole


def test_a_folder_that_is_moved_away_meanwhile_costs_only_its_own_branch(tmp_path: Path) -> None:
    """The way back up leads elsewhere; the rest is counted all the same."""
    folder = tmp_path / "run"
    (folder / "a" / "b").mkdir(parents=True)
    written(folder / "a" / "b" / "file", 100 * KIB)
    (folder / "c").mkdir()
    written(folder / "c" / "file", 200 * KIB)
    measurement = Measurement(folder)
    size, steps = None, 0
    while size is None:
        size = measurement.step(0.0)
        steps += 1
        if (folder / "a").exists() and steps == 5:
            (folder / "a" / "b").rename(tmp_path / "b")
    assert size.size_bytes >= 200 * KIB
    assert size.files >= 3


def test_a_folder_that_vanishes_is_no_trouble(tmp_path: Path) -> None:
    """Before, or in the midst of it; nothing stays open."""
    folder = tmp_path / "run"
    (folder / "a" / "b").mkdir(parents=True)
    assert measured(tmp_path / "nothing") == FolderSize(0, 0, is_whole=False)
    before = len(list(Path("/proc/self/fd").iterdir()))
    measurement = Measurement(folder)
    assert measurement.step(0.0) is None
    shutil.rmtree(folder)
    while (size := measurement.step(0.0)) is None:
        pass
    assert not size.is_whole
    abandoned = Measurement(tmp_path)
    abandoned.step(0.0)
    abandoned.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
