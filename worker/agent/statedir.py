"""The folder where an agent keeps what outlives it; one agent at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["StateDir", "StateDirBusy", "user_of"]

LOCK_NAME = "agent.lock"


class StateDirBusy(Exception):  # noqa: N818 - a state, and it passes
    """Another agent uses the state directory."""


class StateDir:
    """A locked state directory. The lock ends with the process, however it ends (flock(2))."""

    def __init__(self, path: Path, lock_file: int) -> None:
        """Hold a lock that was taken; use `acquire`."""
        self.path = path
        self._lock_file: int | None = lock_file

    @classmethod
    def acquire(cls, path: Path) -> Self:
        """Create the folder where needed (for its owner only) and lock it.

        Raises:
            StateDirBusy: another process holds it; the message names its pid.
            OSError: the folder cannot be made or written.
        """
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock_file = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            lock(lock_file, path)
        except BaseException:
            os.close(lock_file)
            raise
        return cls(path, lock_file)

    @property
    def journal_path(self) -> Path:
        """Return the folder of the journal."""
        return self.path / "journal"

    def release(self) -> None:
        """Let the next agent in; twice does no harm. The lock file stays."""
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def __enter__(self) -> Self:
        """Return itself, locked."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock."""
        self.release()


def lock(lock_file: int, path: Path) -> None:
    """Take the lock and write down who has it."""
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise StateDirBusy(
            f"state directory {path} is in use by {holder(lock_file)};"
            " stop that agent, or give this one another MILLHAND_STATE_DIR"
        ) from exc
    os.truncate(lock_file, 0)
    os.pwrite(lock_file, f"{os.getpid()}\n".encode(), 0)


def holder(lock_file: int) -> str:
    """Return who wrote the lock file, in words."""
    with contextlib.suppress(OSError, ValueError):
        return f"another agent (pid {int(os.pread(lock_file, 32, 0))})"
    return "another agent"


def user_of(path: Path) -> int | None:
    """Return the pid of the agent that uses a state directory, where the system tells; takes no lock.

    To try the lock would turn away an agent that starts at this moment.
    """
    with contextlib.suppress(OSError, ValueError):
        pid = int((path / LOCK_NAME).read_text())
        inode = (path / LOCK_NAME).stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if "FLOCK" in words and str(pid) in words and any(word.endswith(f":{inode}") for word in words):
                return pid
    return None
