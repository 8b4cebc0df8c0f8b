"""Agents as processes that can be killed and started again where they were, and what is left of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

from tests.acceptance.agents import STOP_S, start_agent
from tests.faults.processes import Process, descendants

__all__ = ["TOKEN", "Agent", "groups_of", "kill_all", "kill_surely", "reap_strays"]

TOKEN: Final = "token-of-the-chaos"
HANDLERS: Final = Path(__file__).with_name("recorder.py")
PROGRAM: Final = ("-m", "worker.cli.main")
GATHERING: Final = (str(Path(__file__).with_name("gathering.py")),)
SETTINGS: Final = {
    "MILLHAND_HANDLERS": str(HANDLERS),
    "MILLHAND_TYPES": "chaos",
    "MILLHAND_POLL_INTERVAL": "0.2s",
    "MILLHAND_POLL_MAX": "0.5s",
    "MILLHAND_LONG_POLL": "1s",
    "MILLHAND_REPORT_INTERVAL": "0.2s",
    "MILLHAND_REQUEST_TIMEOUT": "3s",
    "MILLHAND_MAX_ATTEMPTS": "20",
}


class Agent:
    """`millhand agent` with a state directory that it keeps."""

    def __init__(self, name: str, folder: Path, url: str, slots: int, *, gathers: bool = False) -> None:
        """Start with `start`; it speaks to `url`. With `gathers`, writes that go together are common."""
        self._program = GATHERING if gathers else PROGRAM
        self._url = url
        self._slots = slots
        self._process: subprocess.Popen[bytes] | None = None
        self._log_from = 0
        self._starts = 0
        self._is_killed = False
        self.name = name
        self.folder = folder / name

    @property
    def pids(self) -> set[int]:
        """Return the pid of every process that is waited for here."""
        return {self._process.pid} if self._process is not None else set()

    @property
    def life(self) -> int:
        """Return how often it was started; 0 while it is dead."""
        is_alive = self._process is not None and self._process.poll() is None
        return self._starts if is_alive else 0

    @property
    def state(self) -> Path:
        """Return its state directory."""
        return self.folder / "state"

    def start(self) -> None:
        """Start it; `is_up` tells when it polls."""
        log = self.folder / "agent.log"
        self._log_from = log.stat().st_size if log.exists() else 0
        self._process = start_agent(
            self.folder, self._url, TOKEN, slots=self._slots, settings=SETTINGS, program=self._program
        )
        self._starts += 1
        self._is_killed = False

    def is_up(self) -> bool:
        """Tell whether it has said that it started."""
        with (self.folder / "agent.log").open("rb") as log:
            log.seek(self._log_from)
            return b"agent.started" in log.read()

    @property
    def fell(self) -> int | None:
        """Return how it ended by itself; None where it did not."""
        code = None if self._process is None else self._process.poll()
        return None if self._is_killed else code

    def kill(self) -> bool:
        """Kill it; tell whether there was one."""
        is_done = kill_surely(self._process)
        self._is_killed = self._is_killed or is_done
        return is_done

    def children(self) -> list[Process]:
        """Return the minder's children, with a run or without."""
        minders = {one.pid for one in self.minders()}
        return [one for one in self._below() if one.parent_pid in minders and not one.is_zombie]

    def minders(self) -> list[Process]:
        """Return its minder, once it has one."""
        return [
            one for one in self._below() if "worker.minder" in one.command and one.parent_pid in self.pids
        ]

    def stop(self) -> int:
        """Have it drain; return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(STOP_S)

    def _below(self) -> list[Process]:
        return descendants(self._process.pid) if self._process is not None and self.life else []


def kill_surely(process: subprocess.Popen[bytes] | None) -> bool:
    """Kill a process and wait for its end; tell whether it was alive."""
    if process is None or process.poll() is not None:
        return False
    process.kill()
    process.wait(STOP_S)
    return True


def kill_all(found: list[Process]) -> bool:
    """Kill processes; tell whether one was alive."""
    is_done = False
    for one in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)
            is_done = is_done or not one.is_zombie
    return is_done


def reap_strays(ours: set[int], alive: Collection[int] = ()) -> list[Process]:
    """Reap orphans that came to be our children and have ended; return those that live.

    Args:
        ours: processes that somebody waits for.
        alive: those of them below which everything may live.
    """
    below = {one.pid for pid in alive for one in descendants(pid)}
    strays = [one for one in descendants() if one.pid not in ours]
    for one in strays:
        if one.is_zombie and one.parent_pid == os.getpid():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(one.pid, os.WNOHANG)
    return [one for one in strays if not one.is_zombie and one.pid not in below]


def groups_of(names: list[str], patience_s: float = 10.0) -> list[str]:
    """Return the control groups that bear one of some names, once they had time to go."""
    until_mono = time.monotonic() + patience_s
    while found := [folder for folder in group_folders() if any(name in folder for name in names)]:
        if time.monotonic() > until_mono:
            break
        time.sleep(0.1)
    return found


def group_folders() -> list[str]:
    """Return the control groups of all agents; those of others come and go meanwhile."""
    walk = os.walk("/sys/fs/cgroup")
    return [f"{at}/{name}" for at, names, _ in walk for name in names if name.startswith("millhand")]
