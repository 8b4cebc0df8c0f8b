"""The locked folder of an agent: whose it is, and who may remove it. Plain folders do for that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.minder.base import NAME_LENGTH, PREFIX, Base, remove_tree, sweep

NOTHING: frozenset[str] = frozenset()


def test_a_folder_without_a_living_owner_is_swept_with_what_is_below_it(tmp_path: Path) -> None:
    """Nobody holds its lock, so whoever made it is gone; other names are left alone."""
    (tmp_path / f"{PREFIX}dead-1/7/inner").mkdir(parents=True)
    (tmp_path / "somebody-else").mkdir()
    assert sweep(str(tmp_path)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["somebody-else"]


def test_a_folder_of_a_living_owner_stays(tmp_path: Path) -> None:
    """Its lock is held until it is given back, or its process ends however it may."""
    base = Base.make(str(tmp_path), 1, "alive", NOTHING)
    assert sweep(str(tmp_path)) == 0
    assert Path(base.folder).is_dir()
    base.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_somebody_else_holds_is_not_taken(tmp_path: Path) -> None:
    """Two of the same name and pid, as in two pid namespaces: the second gets an error, the first goes on."""
    first = Base.make(str(tmp_path), 1, "same", NOTHING)
    with pytest.raises(OSError, match="somebody else holds the folder"):
        Base.make(str(tmp_path), 1, "same", NOTHING)
    assert Path(first.folder).is_dir()
    first.remove()


def test_what_a_dead_one_with_our_pid_left_is_taken_over(tmp_path: Path) -> None:
    """A folder of our own name that cannot be removed, since it is busy, serves again."""
    busy = tmp_path / f"{PREFIX}again-{os.getpid()}" / "1"
    busy.mkdir(parents=True)
    (busy / "cgroup.procs").write_text("")  # a plain file keeps a plain folder from going
    base = Base.make(str(tmp_path), 1, "again", NOTHING)
    assert base.folder == str(busy.parent)
    os.close(base.lock_fd)


@pytest.mark.parametrize("name", ["", "a/../../b", "ä b\n", "x" * 1000])
def test_any_name_makes_one_folder(tmp_path: Path, name: str) -> None:
    """Slashes, dots and length of a name lead nowhere else."""
    base = Base.make(str(tmp_path), 1, name, NOTHING)
    (made,) = tmp_path.iterdir()
    assert made.name.startswith(PREFIX)
    assert len(made.name) <= len(PREFIX) + NAME_LENGTH + 10
    base.remove()


def test_a_group_that_is_gone_is_removed_at_once(tmp_path: Path) -> None:
    """Somebody was faster; what is busy is told after some milliseconds."""
    assert remove_tree(str(tmp_path / "gone"))
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy/file").write_text("")
    assert not remove_tree(str(tmp_path / "busy"))
