"""The steps of `confine`, each in a process of its own, and what goes on working under them."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.confine.conftest import needs_landlock, needs_root
from tests.unit.confine.scene import LIMIT_S, ROOT, START, nobody
from worker.agent.task_user import NEEDED_CAPABILITIES
from worker.minder import confine, landlock

HONEST = Path(__file__).parent / "honest.py"


def confined(
    wish: dict[str, Any], *arguments: str, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    """Run Python under a wish, as the minder starts children."""
    return subprocess.run(
        [python, "-I", "-S", "-c", START, str(ROOT), json.dumps(wish), *arguments],
        capture_output=True, text=True, timeout=LIMIT_S, check=False, env={**os.environ, "HOME": "/"},
    )  # fmt: skip


def said(wish: dict[str, Any], code: str, python: str = sys.executable) -> Any:
    """Return what code prints under a wish, from its JSON."""
    ran = confined(wish, "-c", f"import json, os, resource\nprint(json.dumps({code}))", python=python)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


def test_empty_wish_turns_core_dumps_off_and_nothing_else() -> None:
    """A child leaves no memory in a file; 1 byte also keeps it from programs that collect dumps."""
    limits, uid = said({}, "[resource.getrlimit(resource.RLIMIT_CORE), os.getuid()]")
    assert max(limits) in {0, 1}
    assert uid == os.getuid()


def test_kernel_takes_a_child_before_the_agent() -> None:
    """The adjustment is raised to what is wished, at most to the kernel's 1000."""
    read = "int(open('/proc/self/oom_score_adj').read())"
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert said({"oom_score_adj": max(own, 321)}, read) == max(own, 321)
    assert said({"oom_score_adj": 5000}, read) == 1000


def test_kernel_that_has_no_adjustment_starts_the_child_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody asked for it: the guard of memory does without."""
    monkeypatch.setattr(confine, "ADJUSTMENT", str(tmp_path / "missing"))
    confine.raise_oom_score(500)
    assert list(tmp_path.iterdir()) == []


def test_adjustment_is_never_lowered() -> None:
    """A child that the kernel would take first stays the first."""
    assert said({"oom_score_adj": -900}, "int(open('/proc/self/oom_score_adj').read())") >= 0


def test_no_program_gives_a_child_more_than_it_has() -> None:
    """no_new_privs stands, and is inherited."""
    status = said({"no_new_privs": True}, "open('/proc/self/status').read()")
    assert "NoNewPrivs:\t1" in status


@needs_root
def test_child_becomes_the_task_user_with_its_groups(python: str) -> None:
    """User, group and groups are the wished ones, in every of their forms."""
    person = nobody()
    wish = {"user": {"uid": person.uid, "gid": person.gid, "groups": [person.gid, 12345]}}
    uids, gids, groups = said(wish, "[os.getresuid(), os.getresgid(), sorted(os.getgroups())]", python)
    assert (set(uids), set(gids)) == ({person.uid}, {person.gid})
    assert groups == sorted([person.gid, 12345])


@needs_root
def test_child_that_may_not_change_users_is_not_started(python: str) -> None:
    """An agent without the right is told which step failed, and nothing runs as the agent's user."""
    wish = {"user": {"uid": nobody().uid, "gid": nobody().gid, "groups": []}}
    code = "import os; os.setgroups([]); os.setgid(1); os.setuid(1); exec(__import__('sys').argv.pop(1))"
    ran = subprocess.run(
        [python, "-I", "-S", "-c", code, START, str(ROOT), json.dumps(wish), "-c", "print('ran')"],
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert ran.returncode == 7
    assert f"user {nobody().uid}: Operation not permitted" in ran.stdout


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv makes an agent with a few capabilities")
def test_agent_with_the_named_capabilities_needs_not_be_root(python: str) -> None:
    """Those that the agent asks for are enough to become the task user, who keeps none of them."""
    person, agent = nobody(), pwd.getpwnam("daemon")
    held = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in NEEDED_CAPABILITIES)
    wish = {"user": person.wish(), "no_new_privs": True}
    show = "print(open('/proc/self/status').read())"
    ran = subprocess.run(
        ["setpriv", f"--reuid={agent.pw_uid}", f"--regid={agent.pw_gid}", "--clear-groups",
         f"--inh-caps={held}", f"--ambient-caps={held}",
         python, "-I", "-S", "-c", START, str(ROOT), json.dumps(wish), "-c", show],
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    status = dict(line.split(":\t", 1) for line in ran.stdout.splitlines() if ":\t" in line)
    assert set(status["Uid"].split()) == {str(person.uid)}
    assert {int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Amb")} == {0}


@needs_landlock
def test_more_entries_than_can_be_allowed_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with too many files beside a hidden one fails the start, instead of hiding half of them."""
    monkeypatch.setattr(landlock, "RULES_MAX", 3)
    with pytest.raises(OSError, match="more than 3 files lie beside"):
        landlock.make_ruleset([str(tmp_path / "token")], [], [], no_disks=False)


def test_kernel_without_landlock_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for and is not there fails the start, with a way out."""
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    with pytest.raises(OSError, match="take landlock out of the hardening setting, or boot a kernel"):
        landlock.make_ruleset(["/etc/shadow"], [], [], no_disks=False)


def test_way_to_a_hidden_path_is_left_open_beside_it(tmp_path: Path) -> None:
    """Every neighbour of the way is allowed, nothing on the way itself, and kept folders below it are."""
    for name in ("state/runs", "state/journal", "beside"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "state")
    masks = landlock.masks([str(tmp_path / "link")], [str(tmp_path / "state" / "runs")], [])
    allowed = dict(landlock.openings(masks, no_disks=False))
    below = {path for path in allowed if path.startswith(f"{tmp_path}/")}
    assert below == {str(tmp_path / "beside"), str(tmp_path / "state" / "runs")}
    assert not allowed.keys() & {"/", str(tmp_path), *map(str, tmp_path.parents), str(tmp_path / "state")}


def test_what_is_hidden_below_a_readable_folder_stays_hidden(tmp_path: Path) -> None:
    """A token below /etc stays out of reach where /etc as a whole can be read."""
    (tmp_path / "etc" / "secret").mkdir(parents=True)
    (tmp_path / "etc" / "hosts").touch()
    masks = landlock.masks([str(tmp_path / "etc" / "secret")], [], [str(tmp_path / "etc")])
    allowed = dict(landlock.openings(masks, no_disks=False))
    assert allowed[str(tmp_path / "etc" / "hosts")] == landlock.READ_ONLY
    assert str(tmp_path / "etc") not in allowed
    assert str(tmp_path / "etc" / "secret") not in allowed


@needs_landlock
@pytest.mark.parametrize("who", ["agent's user", "task user"])
def test_honest_programs_go_on_under_landlock(base: Path, python: str, who: str) -> None:
    """Files, links, programs, shared memory, sockets, libraries, devices and one's own signals work."""
    if who == "task user" and os.geteuid() != 0:
        pytest.skip("only root becomes another user")
    state = base / "state"
    run = state / "runs" / "run-1"
    run.mkdir(parents=True)
    (state / "token").write_text("hidden")
    honest = base / "honest.py"
    honest.write_text(HONEST.read_text())
    wish: dict[str, Any] = {"hide": [str(state)], "keep": [str(state / "runs")], "read": [str(honest)]}
    if who == "task user":
        wish["user"] = nobody().wish()
        os.chown(run, *nobody())
    ran = confined(wish, str(honest), str(run), python=python)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == {}  # what did not work, and why
