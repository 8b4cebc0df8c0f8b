"""What `millhand doctor` says of isolation, on made-up machines and on this one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.agent import task_user as task_user_module
from worker.cli import check_isolation as checks
from worker.cli.check_isolation import check_isolation
from worker.config import AgentConfig
from worker.minder import landlock


def machine(root: Path, files: dict[str, str]) -> Path:
    """Make a machine out of the files that are looked at."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def config_of(
    tmp_path: Path, *, task_user: str | None = None, hardening: tuple[str, ...] = ()
) -> AgentConfig:
    """Return settings of isolation."""
    return AgentConfig(state_dir=tmp_path / "state", task_user=task_user, hardening=hardening)


def cgroup_v2(root: Path, limit: str = "max") -> Path:
    """Make a machine with cgroup v2, whose own group can be written by its owner."""
    return machine(root, {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
        "sys/fs/cgroup/cgroup.controllers": "memory pids\n",
        "sys/fs/cgroup/cgroup.procs": "1\n",
        "sys/fs/cgroup/pids.max": f"{limit}\n",
        "sys/fs/cgroup/below/cgroup.kill": "",
    })  # fmt: skip


def test_this_machine_is_looked_at_without_a_failure(tmp_path: Path) -> None:
    """The settings by default work anywhere that the tests do; every line has words."""
    found = check_isolation(config_of(tmp_path))
    assert [check.name for check in found if check.state == "fail"] == []
    assert all(check.said for check in found)
    assert len({check.name for check in found}) == len(found)


def test_minder_is_tried_for_real() -> None:
    """An orphan came to the process that asked for it."""
    assert checks.check_minder().state == "ok"


def test_minder_that_cannot_hold_orphans_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it a process that leaves its tree would go on unseen."""
    monkeypatch.setattr(checks, "ORPHANED", "print(False)")
    assert checks.check_minder().state == "fail"


def test_groups_that_can_be_written_hold_limits_and_are_killed_at_once(tmp_path: Path) -> None:
    """A delegated cgroup v2 is the best there is."""
    said = checks.check_groups(config_of(tmp_path), cgroup_v2(tmp_path)).said
    assert said.startswith("v2, a group for each run: the kernel limits memory and number of processes")
    assert "cgroup.kill" in said


def test_groups_that_are_read_only_are_well_and_say_what_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an ordinary container."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    check = checks.check_groups(config_of(tmp_path), cgroup_v2(tmp_path))
    assert (check.state, "read only" in check.said) == ("ok", True)


def test_groups_that_are_turned_off_are_told(tmp_path: Path) -> None:
    """Then nothing but the minder holds limits, and nothing bounds the processes of a run."""
    config = AgentConfig(state_dir=tmp_path / "state", cgroups="off")
    assert "not used" in checks.check_groups(config, cgroup_v2(tmp_path)).said
    assert checks.check_processes(config, cgroup_v2(tmp_path)).state == "warn"


def test_machine_without_control_groups_is_told(tmp_path: Path) -> None:
    """Then nothing is known of limits of memory."""
    assert checks.check_groups(config_of(tmp_path), tmp_path).state == "warn"


def test_number_of_processes_that_nothing_bounds_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a limit around the agent, or a group for each run, it is well; too few is none."""
    assert (
        checks.check_processes(config_of(tmp_path), cgroup_v2(tmp_path)).said
        == f"at most {config_of(tmp_path).max_processes} in a run"
    )
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert checks.check_processes(config_of(tmp_path), cgroup_v2(tmp_path)).state == "warn"
    assert "at most 4096" in checks.check_processes(config_of(tmp_path), cgroup_v2(tmp_path, "4096")).said
    assert checks.check_processes(config_of(tmp_path), cgroup_v2(tmp_path, "100")).state == "warn"
    assert checks.check_processes(config_of(tmp_path), tmp_path / "nothing").state == "warn"


def test_landlock_that_was_asked_for_and_is_not_there_is_a_failure(tmp_path: Path) -> None:
    """The agent would not start; where nobody asked for it, nothing is missing."""
    wanted = config_of(tmp_path, hardening=("landlock",))
    assert (checks.check_landlock(wanted, 0).state, checks.check_landlock(wanted, 1).state) == (
        "fail",
        "fail",
    )
    assert checks.check_landlock(config_of(tmp_path), 0).state == "ok"
    assert "cutting hidden files" in checks.check_landlock(wanted, 2).said
    assert "signals" in checks.check_landlock(wanted, 5).said
    assert checks.check_landlock(wanted, 7).said == "version 7, used"


def test_token_in_reach_is_a_warning_that_names_what_works_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task user where the agent may change users, Landlock where the kernel has it, else what to change."""
    monkeypatch.setattr(task_user_module, "missing_capabilities", list)
    monkeypatch.setattr(landlock, "abi", lambda: 7)
    check = checks.check_reach(config_of(tmp_path))
    assert (check.state, check.todo) == ("warn", "--task-user NAME or --hardening landlock")
    monkeypatch.setattr(task_user_module, "missing_capabilities", lambda: ["CAP_SETUID"])
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    assert checks.check_reach(config_of(tmp_path)).todo.startswith("start the agent as root with --task-user")


def test_token_is_out_of_reach_with_a_task_user_or_landlock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Landlock alone is not enough for root."""
    monkeypatch.setattr(landlock, "abi", lambda: 7)
    assert checks.check_reach(config_of(tmp_path, task_user="nobody")).state == "ok"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert checks.check_reach(config_of(tmp_path, hardening=("landlock",))).state == "ok"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert checks.check_reach(config_of(tmp_path, hardening=("landlock",))).state == "warn"


def test_task_user_that_cannot_be_used_is_a_failure(tmp_path: Path) -> None:
    """With what the agent would say at its start."""
    check = checks.check_task_user(config_of(tmp_path, task_user="millhand-missing"))
    assert (check.state, "no user 'millhand-missing'" in check.said) == ("fail", True)


def test_hardening_that_was_turned_off_is_a_warning(tmp_path: Path) -> None:
    """Handlers may use sudo then."""
    assert checks.check_privileges(config_of(tmp_path, hardening=("none",))).state == "warn"
    assert checks.check_privileges(config_of(tmp_path, hardening=("no_new_privs",))).state == "ok"


def test_settings_of_the_kernel_are_told_in_words(tmp_path: Path) -> None:
    """ptrace_scope, hidepid, where cores go, user namespaces."""
    root = machine(tmp_path, {
        "proc/sys/kernel/yama/ptrace_scope": "1\n",
        "proc/self/mountinfo": "20 1 0:19 / /proc rw - proc proc rw,hidepid=invisible\n",
        "proc/sys/kernel/core_pattern": "|/usr/lib/systemd/systemd-coredump %P\n",
        "proc/sys/kernel/unprivileged_userns_clone": "0\n",
    })  # fmt: skip
    privacy = checks.check_process_privacy(root).said
    assert "only into processes below" in privacy
    assert "are hidden (hidepid=invisible)" in privacy
    assert "others' go to a program" in checks.check_cores(root).said
    assert "closed to handlers by unprivileged_userns_clone" in checks.check_namespaces(root).said
    assert "no Yama" in checks.check_process_privacy(tmp_path / "nothing").said
