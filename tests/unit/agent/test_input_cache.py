"""The folder of kept inputs: a part for each user, a key that handlers do not get, a grant for each type."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from tests.unit.confine.conftest import needs_landlock, needs_root
from worker.agent.input_cache import open_input_cache
from worker.agent.isolation import confinement_of
from worker.agent.task_user import find_user
from worker.config import AgentConfig


def test_without_a_folder_nobody_is_told_of_any(tmp_path: Path) -> None:
    """Nothing is made, nothing is kept."""
    assert open_input_cache(None, 1)("render") is None
    assert list(tmp_path.iterdir()) == []


def test_each_type_has_a_key_of_its_own_which_stays_the_same(tmp_path: Path) -> None:
    """For the next agent too, and for one beside it."""
    first, second = (open_input_cache(tmp_path / "inputs", 7) for _ in range(2))
    granted = first("render")
    assert granted is not None
    assert granted == second("render")
    assert granted.max_bytes == 7
    other = first("convert")
    assert other is not None
    assert other.key != granted.key
    assert other.folder == granted.folder == str(tmp_path / "inputs" / f"user-{os.geteuid()}")
    key = tmp_path / "inputs" / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_bytes().hex() not in (granted.key, other.key)
    assert stat.S_IMODE(Path(granted.folder).stat().st_mode) == 0o700


def test_agents_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    """Whoever comes second takes it as it is; nothing half is left."""
    keys: list[object] = []
    start = threading.Barrier(8)

    def open_one() -> None:
        start.wait()
        keys.append(open_input_cache(tmp_path / "inputs", 1)("render"))

    threads = [threading.Thread(target=open_one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == 1
    assert len(keys) == 8
    assert {path.name for path in (tmp_path / "inputs").iterdir()} == {"key", f"user-{os.geteuid()}"}


def test_what_cannot_be_used_is_said_at_the_start(tmp_path: Path) -> None:
    """With the setting's name and what is wrong."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match=r"input_cache: .*file cannot be used"):
        open_input_cache(tmp_path / "file", 1)
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"key is no key; remove it"):
        open_input_cache(tmp_path, 1)


@needs_root
def test_a_task_user_has_a_part_of_its_own(tmp_path: Path) -> None:
    """Which it can write; where the way to it is closed, that is said."""
    user = find_user("nobody", tmp_path / "home")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ValueError, match=r"input_cache: .*cannot be passed by nobody"):
        open_input_cache(closed / "inputs", 1, user)
    assert (closed / "inputs" / f"user-{user.uid}").stat().st_uid == user.uid


@needs_landlock
def test_landlock_hides_the_key_and_leaves_the_users_part(tmp_path: Path) -> None:
    """Also below the state folder, which is hidden."""
    config = AgentConfig(
        state_dir=tmp_path / "state", input_cache=tmp_path / "state" / "inputs", hardening=("landlock",)
    )
    made = confinement_of(config)
    assert made.hide is not None
    assert str(tmp_path / "state" / "inputs" / "key") in made.hide
    assert str(tmp_path / "state" / "inputs" / f"user-{os.geteuid()}") in made.keep
