"""One peer: how it is installed, started and asked, and what it keeps when something dies."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from tests.bench.world import BenchError

__all__ = ["PEERS", "Installed", "Peer", "install"]

PROGRAMS: Final = Path(__file__).with_name("programs")
INSTALL_S: Final = 600.0
ANSWER_S: Final = 300.0
STOP_S: Final = 20.0


class Peer(Struct, frozen=True, kw_only=True):
    """What is measured; `keeps` says honestly how it compares."""

    name: str
    program: str  # a file of `programs`, without its suffix
    requirements: tuple[str, ...]
    worker: tuple[str, ...]  # modules and arguments of its Python
    keeps: str
    needs: str = "redis"
    is_synced: bool = False  # Redis syncs its log at each write
    tasks: int = 2_000


CELERY: Final = {
    "program": "celery_noop",
    "requirements": ("celery[redis]==5.7.0",),
    "worker": ("celery", "-A", "celery_noop", "worker", "-c", "2", "--loglevel", "WARNING"),
}
PEERS: Final = (
    Peer(
        name="Celery, 2 processes, acks_late, results",
        keeps="isolated processes; Redis in memory: a power cut loses tasks and results",
        **CELERY,  # type: ignore[arg-type]
    ),
    Peer(
        name="Celery, the same, Redis syncs each write",
        keeps="isolated processes; durable as we are, but for the journal of results",
        is_synced=True,
        **CELERY,  # type: ignore[arg-type]
    ),
    Peer(
        name="Dramatiq, 2 processes of 8 threads, results",
        program="dramatiq_noop",
        requirements=("dramatiq[redis]==2.2.1",),
        worker=("dramatiq", "dramatiq_noop", "-p", "2", "-t", "8"),
        keeps="threads share a process: no isolation; Redis syncs each write, as our server does",
        is_synced=True,
        tasks=6_000,
    ),
    Peer(
        name="taskiq, 2 processes, stream, results",
        program="taskiq_noop",
        requirements=("taskiq==0.13.0", "taskiq-redis==1.2.4"),
        worker=("taskiq", "worker", "taskiq_noop:broker", "--workers", "2", "--log-level", "WARNING"),
        keeps="tasks share a loop: no isolation; Redis syncs each write, as our server does",
        is_synced=True,
        tasks=6_000,
    ),
    Peer(
        name="procrastinate, PostgreSQL, 10 at once",
        program="procrastinate_noop",
        requirements=("procrastinate==3.10.0", "psycopg[binary,pool]"),
        worker=("procrastinate", "--app", "procrastinate_noop.app", "worker", "-c", "10"),
        keeps="tasks share a process: no isolation, no results; PostgreSQL with fsync",
        needs="postgres",
        tasks=1_000,
    ),
)


class Installed:
    """A peer in its environment."""

    def __init__(self, peer: Peer, python: Path, folder: Path, variables: Mapping[str, str]) -> None:
        """Take where it is; `variables` name its broker."""
        self.peer = peer
        self._python = python
        self._stamps = folder / "stamps"
        self._stamps.touch()
        self._log = folder / "worker.log"
        self._variables = {**os.environ, **variables, "PEERS_STAMPS": str(self._stamps)}

    def ask(self, *arguments: str) -> str:
        """Run its program, and return what it prints."""
        command = [str(self._python), f"{self.peer.program}.py", *arguments]
        ran = subprocess.run(
            command, cwd=PROGRAMS, env=self._variables, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=ANSWER_S, check=False,
        )  # fmt: skip
        if ran.returncode != 0:
            raise BenchError(f"{self.peer.name}: {ran.stderr[-2000:]}")
        return ran.stdout

    @contextmanager
    def working(self) -> Iterator[int]:
        """Have its workers run during the block; gives the first one's process id.

        All are killed at the end: by then everything is measured, and whoever is asked to end may take
        for ever. Idle workers of taskiq 0.13 wait for one more task of their stream before they do.
        """
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [str(self._python), "-m", *self.peer.worker],
                cwd=PROGRAMS, env=self._variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        try:
            yield process.pid
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_S)

    def stamps(self) -> list[float]:
        """Return when tasks ran."""
        return sorted(at for (at,) in struct.iter_unpack("<d", self._stamps.read_bytes()))

    def wait_for(self, count: int) -> list[float]:
        """Return when tasks ran, once so many have."""
        moved_at, seen = time.monotonic(), -1
        while len(found := self.stamps()) < count:
            if len(found) != seen:
                moved_at, seen = time.monotonic(), len(found)
            if time.monotonic() - moved_at > STOP_S * 3:
                raise BenchError(
                    f"{self.peer.name}: stuck at {seen} of {count}: {self._log.read_text()[-2000:]}"
                )
            time.sleep(0.05)
        return found


def install(requirements: tuple[str, ...], folder: Path) -> Path:
    """Return the Python of an environment that has them; it is made once."""
    python = folder / "bin" / "python"
    done = folder / "requirements.txt"
    wanted = "\n".join(requirements)
    if done.exists() and done.read_text() == wanted:
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, timeout=INSTALL_S)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    subprocess.run(pip, check=True, timeout=INSTALL_S, stdin=subprocess.DEVNULL)
    done.write_text(wanted)
    return python
