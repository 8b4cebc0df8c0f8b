"""Server and agents as processes that can be killed and started again where they were."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.acceptance.agents import STOP_S, start_agent
from tests.faults.processes import Process, descendants

__all__ = ["LEASE_S", "TOKEN", "Agent", "Server", "free_port", "groups_of", "reap_strays"]

TOKEN: Final = "token-of-the-chaos"
LEASE_S: Final = 3.0
HANDLERS: Final = Path(__file__).with_name("recorder.py")
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


class Server:
    """`millhand serve` on a file, always on the same port."""

    def __init__(self, folder: Path, port: int, lease_s: float = LEASE_S) -> None:
        """Start with `start`; the log lies in the folder."""
        self._folder = folder
        self._lease_s = lease_s
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    @property
    def pids(self) -> set[int]:
        """Return the pid of every process that is waited for here."""
        return {self._process.pid} if self._process is not None else set()

    def start(self) -> None:
        """Start it; `is_up` tells when it answers."""
        db = f"sqlite:///{self._folder}/jobs.sqlite3"
        command = ["serve", "--port", str(self.port), "--db", db, "--lease", f"{self._lease_s}s"]
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "worker.cli.main", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**kept, "MILLHAND_SERVER_TOKEN": TOKEN},
                start_new_session=True,
            )

    def is_up(self) -> bool:
        """Tell whether it takes connections."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True
        return False

    def kill(self) -> bool:
        """Kill it; tell whether there was one."""
        return kill_surely(self._process)

    def stop(self) -> int:
        """Stop it as a person does; return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(STOP_S)


class Agent:
    """`millhand agent` with a state directory that it keeps."""

    def __init__(self, name: str, folder: Path, url: str) -> None:
        """Start with `start`; it speaks to `url`."""
        self._url = url
        self._process: subprocess.Popen[bytes] | None = None
        self._log_from = 0
        self._starts = 0
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
        self._process = start_agent(self.folder, self._url, TOKEN, slots=1, settings=SETTINGS)
        self._starts += 1

    def is_up(self) -> bool:
        """Tell whether it has said that it started."""
        with (self.folder / "agent.log").open("rb") as log:
            log.seek(self._log_from)
            return b"agent.started" in log.read()

    def kill(self) -> bool:
        """Kill it; tell whether there was one."""
        return kill_surely(self._process)

    def kill_minder(self) -> bool:
        """Kill its minder."""
        return kill_all(self._minders())

    def kill_children(self) -> bool:
        """Kill the minder's children, with a run or without."""
        minders = {one.pid for one in self._minders()}
        return kill_all([one for one in self._below() if one.parent_pid in minders])

    def stop(self) -> int:
        """Have it drain; return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(STOP_S)

    def _below(self) -> list[Process]:
        return descendants(self._process.pid) if self._process is not None and self.life else []

    def _minders(self) -> list[Process]:
        return [
            one for one in self._below() if "worker.minder" in one.command and one.parent_pid in self.pids
        ]


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


def reap_strays(ours: set[int]) -> list[Process]:
    """Reap orphans that came to be our children and have ended; return those that live."""
    strays = [one for one in descendants() if one.pid not in ours]
    for one in strays:
        if one.is_zombie and one.parent_pid == os.getpid():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(one.pid, os.WNOHANG)
    return [one for one in strays if not one.is_zombie]


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


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
