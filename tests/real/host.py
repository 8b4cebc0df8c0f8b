"""A host with systemd on which millhand is installed as deploy/README.md says, and what is asked of it."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable
from typing import Any, Final

from tests.real.engine import LIMIT_S

__all__ = ["AGENT", "Host"]

AGENT: Final = "millhand-agent.service"
CLI: Final = "/opt/millhand/current/bin/millhand"
CLIENT: Final = ("env", "LANG=C.UTF-8", "MILLHAND_TOKEN_FILE=/etc/millhand/token", CLI)


class Host:
    """What runs commands on it."""

    def __init__(self, inside: list[str]) -> None:
        """`inside` is the command that runs others there."""
        self._inside = inside

    def run(self, *command: str, code: int | None = 0) -> str:
        """Run a command; return what it prints, its errors too. `code` None: it may end as it will."""
        done = subprocess.run(
            [*self._inside, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=LIMIT_S, check=False,
        )  # fmt: skip
        if code is not None and done.returncode != code:
            raise AssertionError(f"{shlex.join(command)}: {done.returncode}: {done.stdout}\n{self.journal()}")
        return done.stdout

    def journal(self) -> str:
        """Return the last lines of the log, for whoever reads why a test failed."""
        return self.run("journalctl", "--no-pager", "--lines=30", code=None)

    def sh(self, script: str, code: int | None = 0) -> str:
        """Run a line of shell."""
        return self.run("sh", "-c", script, code=code)

    def show(self, name: str, unit: str = AGENT) -> str:
        """Return what systemd says of a unit."""
        return self.run("systemctl", "show", unit, f"--property={name}", "--value").strip()

    def drop_in(self, unit: str, name: str, text: str) -> None:
        """Lay a drop-in over a unit, as an operator does."""
        folder = f"/etc/systemd/system/{unit}.d"
        self.sh(f"mkdir -p {folder} && printf %s {shlex.quote(text)} >{folder}/{name}.conf")
        self.run("systemctl", "daemon-reload")

    def millhand(self, *command: str) -> Any:
        """Run `millhand` as an operator does, and return its JSON."""
        return json.loads(self.run(*CLIENT, *command, "--json", code=None).splitlines()[-1])

    def submit(self, *command: str) -> str:
        """Submit one task, and return its id."""
        job = self.millhand("submit", *command)["job"]
        (task,) = self.millhand("tasks", "--job", job["id"])["tasks"]
        return str(task["id"])

    def last_run(self, task: str) -> dict[str, Any]:
        """Return the last run of a task; empty where there is none."""
        runs = self.millhand("runs", "--task", task)["runs"]
        return max(runs, key=lambda run: str(run["createdAt"]), default={})

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Return what a condition gives once it gives something."""
        until = time.monotonic() + LIMIT_S
        while time.monotonic() < until:
            if found := condition():
                return found
            time.sleep(0.1)
        raise AssertionError(
            f"still not after {LIMIT_S:g} s: {what}: {self.run('systemctl', 'status', AGENT, code=None)}"
        )

    def wait_for_status(self, word: str, unit: str = AGENT) -> str:
        """Wait until the status text of a unit has a word in it."""
        return str(self.wait(lambda: word in (text := self.show("StatusText", unit)) and text, word))
