"""The settings of isolation: what they become, and what is said where they cannot be had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.confine.conftest import needs_landlock, needs_root
from tests.unit.confine.scene import nobody
from worker.agent import isolation
from worker.agent.isolation import confinement_of, prepare_state_dir
from worker.agent.task_user import find_user, missing_capabilities, obstacle
from worker.cli.mill import Layout
from worker.config import AgentConfig, ApiConfig
from worker.executor.confinement import TaskUser
from worker.minder import landlock

LACKS = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SYS_PTRACE"]
ALL = "Name:\tx\nCapEff:\t000001ffffffffff\n"


@pytest.fixture
def user(tmp_path: Path) -> TaskUser:
    """Give the user `nobody`, whose home is none."""
    return find_user("nobody", tmp_path / "home")


def test_by_default_handlers_cannot_gain_privileges(tmp_path: Path) -> None:
    """Nothing else is asked of the machine."""
    wish = confinement_of(AgentConfig(state_dir=tmp_path)).wish()
    assert wish.pop("oom_score_adj") > int(Path("/proc/self/oom_score_adj").read_text())
    assert wish == {"no_new_privs": True}


def test_none_leaves_handlers_as_they_are(tmp_path: Path) -> None:
    """`none` turns off what is on by default; beside other words it is a mistake."""
    made = confinement_of(AgentConfig(state_dir=tmp_path, hardening=("none",)))
    assert made.wish()["no_new_privs"] is False
    with pytest.raises(ValueError, match="none stands alone"):
        confinement_of(AgentConfig(state_dir=tmp_path, hardening=("none", "landlock")))


def test_unknown_word_is_refused_with_those_there_are(tmp_path: Path) -> None:
    """A slip of the finger must not leave handlers open."""
    with pytest.raises(ValueError, match="landlok is not known; there are: no_new_privs, landlock, none"):
        confinement_of(AgentConfig(state_dir=tmp_path, hardening=("landlok",)))


@needs_landlock
def test_landlock_hides_state_token_and_keys(tmp_path: Path) -> None:
    """All that the agent keeps or reads secrets from is hidden; the folders of runs are not."""
    api = ApiConfig(token_file=tmp_path / "token", client_cert=tmp_path / "both.pem")
    config = AgentConfig(
        api=api, state_dir=tmp_path / "state", hardening=("landlock",), hide=(str(tmp_path / "server.db"),)
    )
    made = confinement_of(config)
    assert made.hide is not None
    assert {str(tmp_path / name) for name in ("state", "token", "both.pem", "server.db")} == set(made.hide)
    assert str(tmp_path / "state" / "runs") in made.keep
    assert str(tmp_path / "state" / "artifacts") in made.read
    assert isolation.CONTROL_GROUPS.is_dir() == (str(isolation.CONTROL_GROUPS) in made.read)


@needs_landlock
def test_files_of_earlier_tasks_can_be_read_where_their_folder_is_hidden(tmp_path: Path) -> None:
    """`millhand up` keeps its store beside its database: the one is read by handlers, the other hidden."""
    layout = Layout(folder=tmp_path, port=1, token_file=tmp_path / "token", store=f"{tmp_path}/store")
    variables = layout.variables({})
    config = AgentConfig(
        state_dir=tmp_path / "agent",
        artifacts=variables["MILLHAND_STORE"],
        hide=(variables["MILLHAND_HIDE"],),
        hardening=("landlock",),
    )
    made = confinement_of(config)
    assert str(tmp_path) in (made.hide or ())
    assert str(tmp_path / "store") in made.read


def test_kernel_without_landlock_fails_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for is not left out in silence."""
    monkeypatch.setattr(landlock, "abi", lambda: 1)
    with pytest.raises(ValueError, match="hardening: landlock: this kernel offers too little"):
        confinement_of(AgentConfig(state_dir=tmp_path, hardening=("landlock",)))


def test_user_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The message says how to make it."""
    with pytest.raises(ValueError, match=r"no user 'millhand-missing' .* useradd --system"):
        find_user("millhand-missing", tmp_path)


def test_root_is_no_task_user(tmp_path: Path) -> None:
    """By name or by number, handlers as root would be no isolation."""
    for name in ("root", "0"):
        with pytest.raises(ValueError, match="handlers as root reach everything"):
            find_user(name, tmp_path)


def test_user_without_a_home_gets_one(user: TaskUser, tmp_path: Path) -> None:
    """Libraries keep their caches there: it stays from run to run."""
    assert user.home == tmp_path / "home"


def test_agent_that_may_not_change_users_is_told_what_it_lacks() -> None:
    """By the names that systemd and containers know."""
    assert missing_capabilities(ALL) == []
    assert missing_capabilities("CapEff:\t00000000000000c0\n") == LACKS


@needs_root
def test_handler_file_that_the_user_cannot_read_is_named(base: Path) -> None:
    """The message names the very folder or file that is closed."""
    user = find_user("nobody", base / "home")
    file = base / "closed" / "handlers.py"
    file.parent.mkdir(mode=0o700)
    file.touch(mode=0o600)
    assert "closed cannot be passed by nobody (drwx------ root:root)" in (obstacle(user, file) or "")
    file.parent.chmod(0o711)
    assert "handlers.py cannot be read by nobody (-rw-------" in (obstacle(user, file) or "")
    file.chmod(0o644)
    assert obstacle(user, file) is None
    assert "No such file" in (obstacle(user, base / "gone.py") or "")


@needs_root
def test_state_directory_lets_the_task_user_through_to_its_own(base: Path) -> None:
    """The group may pass to folders of runs; journal, identity and caches are the agent's alone."""
    user = find_user("nobody", base / "home")
    (base / "journal").mkdir(mode=0o755)
    (base / "agent.id").touch(mode=0o644)
    prepare_state_dir(base, user)
    modes = {path.name: path.stat().st_mode & 0o777 for path in base.iterdir()}
    assert modes == {"journal": 0o700, "agent.id": 0o600, "runs": 0o710, "artifacts": 0o750, "home": 0o700}
    assert (base.stat().st_mode & 0o777, base.stat().st_gid) == (0o710, nobody().gid)
    assert (base / "home").stat().st_uid == nobody().uid


@needs_root
def test_task_user_is_told_to_handlers(user: TaskUser, tmp_path: Path) -> None:
    """HOME, USER and LOGNAME are its own."""
    from worker.executor.confinement import Confinement

    made = Confinement(user=user)
    assert made.environment() == {"HOME": str(tmp_path / "home"), "USER": "nobody", "LOGNAME": "nobody"}
    assert made.wish()["user"] == {"uid": user.uid, "gid": user.gid, "groups": list(user.groups)}


def test_agent_that_is_the_task_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One user for both would look like isolation and be none."""
    monkeypatch.setattr(os, "geteuid", lambda: nobody().uid)
    with pytest.raises(ValueError, match="the agent itself runs as nobody"):
        confinement_of(AgentConfig(state_dir=tmp_path, task_user="nobody"))
