"""A token, a state folder, an agent that holds them, and a thief: played as a process of its own."""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import worker
from worker.minder import landlock

HERE = Path(__file__).parent
ROOT = Path(worker.__file__).parents[1]
LIMIT_S = 60.0
START = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from worker.minder.confine import confine
if os.fork() == 0:
    try:
        confine(json.loads(sys.argv[2]))
    except OSError as exc:
        print(exc, flush=True)
        os._exit(7)
    os.execv(sys.executable, [sys.executable, "-I", *sys.argv[3:]])
_, status = os.wait()
sys.exit(os.waitstatus_to_exitcode(status))
"""

IS_ROOT = os.geteuid() == 0
IS_OPEN = all(folder.stat().st_mode & 0o001 for folder in (ROOT, *ROOT.parents))  # others can reach our code


class Person(NamedTuple):
    """A user of this machine."""

    uid: int
    gid: int

    def wish(self) -> dict[str, Any]:
        """Return it as the wish of a child has it."""
        return {"uid": self.uid, "gid": self.gid, "groups": [self.gid]}


def nobody() -> Person:
    """Return the user that may do nothing."""
    entry = pwd.getpwnam("nobody")
    return Person(entry.pw_uid, entry.pw_gid)


@cache
def python_for_all() -> str | None:
    """Return an interpreter that every user can run; None where there is none (a home's is often closed)."""
    if not IS_ROOT:
        return sys.executable  # nobody else can be had
    if not IS_OPEN:
        return None
    person = nobody()
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        command = [candidate, "-I", "-S", "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            ran = subprocess.run(
                command, user=person.uid, group=person.gid, extra_groups=[], timeout=LIMIT_S, check=False
            )
        except OSError:
            continue
        if ran.returncode == 0:
            return candidate
    return None


def started(wish: dict[str, Any], code: str, *arguments: str) -> list[str]:
    """Return a command that runs code of Python as a wish confines it."""
    return [sys.executable, "-I", "-S", "-c", START, str(ROOT), json.dumps(wish), "-c", code, *arguments]


@cache
def is_open_above() -> bool:
    """Tell whether nothing can be hidden here: the root lies in a folder that is mounted in it as well."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "file").touch()
        ran = subprocess.run(
            started({"hide": [folder]}, ""), capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    return landlock.OPEN_ROOT in ran.stdout


class Scene:
    """Folders of one theft. `base` can be passed by everybody; what is secret in it is the agent's alone."""

    def __init__(self, base: Path, agent: Person | None = None) -> None:
        """Make the folders; they belong to `agent`, which is who runs the test by default."""
        self.token = f"mh-token-{secrets.token_hex(16)}"
        self.base = base
        self.agent = agent
        base.chmod(0o755)
        self.state, self.secret, self.playground = (base / name for name in ("state", "secret", "work"))
        for folder in (self.state, self.secret, self.state / "journal", self.state / "runs"):
            folder.mkdir(mode=0o700)
        self.state.chmod(0o711)
        self.playground.mkdir()
        self.token_file = self.secret / "token"
        self.journal = self.state / "journal" / "0001"
        self.code = base / "agent.py"
        for path, text in ((self.token_file, self.token), (self.journal, self.token), (self.code, "")):
            path.write_text(text)
            path.chmod(0o600)
        for name in ("thief.py", "victim.py"):
            shutil.copy(HERE / name, base / name)
        if agent is not None:
            give(base, agent)

    def lend_playground(self, person: Person) -> None:
        """Give the folder where the thief may write to somebody."""
        os.chown(self.playground, person.uid, person.gid)

    def as_agent(self) -> dict[str, Any]:
        """Return who runs the agent, for `subprocess`."""
        if self.agent is None:
            return {}
        return {"user": self.agent.uid, "group": self.agent.gid, "extra_groups": []}

    def play(
        self, wish: dict[str, Any], *, python: str, is_guarded: bool = True, is_talkative: bool = False
    ) -> dict[str, Any]:
        """Let the agent start the thief; return what the thief tells."""
        told = {"token_file": self.token_file, "state": self.state, "playground": self.playground}
        scene = {
            "wish": wish,
            "is_guarded": is_guarded,
            "is_talkative": is_talkative,
            "thief": str(self.base / "thief.py"),
            "path": [str(ROOT), *(path for path in sys.path if "site-packages" in path)],
            "target": {name: str(path) for name, path in {**told, "code": self.code}.items()},
        }
        ran = subprocess.run(
            [python, "-I", str(self.base / "victim.py"), "--token", self.token, json.dumps(scene)],
            env={"PATH": os.environ["PATH"], "MILLHAND_TOKEN": self.token},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
            **self.as_agent(),
        )
        assert ran.stdout, ran.stderr
        told_back: dict[str, Any] = json.loads(ran.stdout)
        assert "error" not in told_back, told_back
        return told_back


def give(folder: Path, person: Person) -> None:
    """Give a folder with all that is in it to somebody."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, person.uid, person.gid)


def gains(told: dict[str, Any], but: Iterable[str] = ()) -> dict[str, str]:
    """Return the ways that gave something, but for some."""
    named = set(but)
    return {way: came for way, came in told["ways"].items() if came in {"found", "done"} and way not in named}
