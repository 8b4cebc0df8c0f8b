"""What is asked inside a machine that systemd and cgroup v2 run, of the shipped units; one line of JSON.

The service that runs it is the machine's last one: the machine is off when it ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

AGENT = "millhand-agent.service"
GROUP = Path("/sys/fs/cgroup/system.slice", AGENT)
CLIENT = ("/opt/millhand/current/bin/millhand",)
LIMIT_S = 240.0  # a bound for a hang: the machine is emulated
RB_POWER_OFF = 0x4321FEDC
Answer = dict[str, Any]


def main() -> None:
    """Do all of it; whatever goes wrong, it is told, and the machine goes off."""
    answer: Answer = {}
    try:
        look(answer)
    except Exception:  # noqa: BLE001 - there is nobody else to tell it
        answer["wrong"] = f"{traceback.format_exc()}\n{run('journalctl', '--no-pager', '--lines=60')}"
    finally:
        sys.stdout.write("\nANSWER " + json.dumps(answer) + "\n")
        sys.stdout.flush()
        os.sync()
        ctypes.CDLL(None).reboot(RB_POWER_OFF)


def look(answer: Answer) -> None:
    """Start the units, have work done, look at its groups, stop the agent."""
    run("systemctl", "start", "millhand-server.socket", check=True)
    run("systemctl", "start", "--no-block", AGENT, check=True)
    until(lambda: show("ActiveState") == "active")
    answer["controllers"] = (GROUP / "cgroup.controllers").read_text().split()
    millhand("submit", "sleep", "-p", "seconds=3600")
    until(lambda: len(tree()) > 2 and any(name for name, told in tree().items() if told["sleepers"]))
    answer["at work"] = tree()
    eaten = millhand("submit", "eat", "-p", "mib=300", "--memory", "64MiB", "--wait")
    answer["eaten"] = eaten["tasks"][0]["run"]
    answer["after it"] = tree()
    answer["restarts"] = show("NRestarts")
    run("systemctl", "stop", AGENT)
    answer["stopped"] = {"state": show("ActiveState"), "result": show("Result"), "groups": tree()}


def tree() -> dict[str, Answer]:
    """Return the groups of the agent's unit: how many processes each has, and its limit of memory."""
    found = {}
    for folder in (path for path in (GROUP, *GROUP.rglob("*")) if path.is_dir()):
        pids = (folder / "cgroup.procs").read_text().split()
        limit = folder / "memory.max"
        found[str(folder.relative_to(GROUP))] = {
            "processes": len(pids),
            "limit": limit.read_text().strip() if limit.exists() else None,
            "sleepers": sum("worker.executor.child" in command_of(pid) for pid in pids),
        }
    return found


def command_of(pid: str) -> str:
    """Return a command line; of a process that has gone, nothing."""
    try:
        return Path("/proc", pid, "cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    give_up_mono = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > give_up_mono:
            raise TimeoutError(f"it did not come about; {run('systemctl', 'status', AGENT)}; {tree()}")
        time.sleep(0.5)


def millhand(*command: str) -> Any:
    """Run the client, and return its JSON."""
    done = subprocess.run(
        [*CLIENT, *command, "--json"],
        env={"PATH": "/usr/bin:/bin", "MILLHAND_TOKEN_FILE": "/etc/millhand/token", "HOME": "/root"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    try:
        return json.loads(done.stdout)
    except ValueError as exc:
        raise RuntimeError(f"{command}: {done.returncode} {done.stdout} {done.stderr}") from exc


def show(name: str) -> str:
    """Return what systemd says of the agent's unit."""
    return run("systemctl", "show", AGENT, f"--property={name}", "--value").strip()


def run(*command: str, check: bool = False) -> str:
    """Run a command, and return what it prints."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if check and done.returncode != 0:
        raise RuntimeError(f"{command}: {done.returncode} {done.stdout}")
    return done.stdout


if __name__ == "__main__":
    main()
