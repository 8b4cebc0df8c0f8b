"""Folders that every user can reach, and what this machine offers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.confine.scene import IS_OPEN, IS_ROOT, is_open_above, python_for_all
from worker.minder import landlock

needs_landlock = pytest.mark.skipif(
    landlock.abi() < landlock.MIN_ABI or is_open_above(),
    reason="this kernel offers no Landlock, or this is a chroot in which it can hide nothing",
)
needs_root = pytest.mark.skipif(
    not (IS_ROOT and IS_OPEN), reason="only root becomes another user, who has to reach this checkout"
)


@pytest.fixture
def base(open_path: Path) -> Path:
    """Give a folder that everybody can pass."""
    return open_path


@pytest.fixture(scope="session")
def python() -> str:
    """Give an interpreter that every user can run."""
    found = python_for_all()
    if found is None:
        pytest.skip("no Python here can be run by another user")
    return found
