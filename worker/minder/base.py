"""The folder of one agent in one hierarchy of control groups: the groups of its runs are below it.

Its owner holds a lock on it, which the kernel gives back however the owner ends. So whoever comes next
can tell what a killed agent left behind from what belongs to a living one, in any pid namespace.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
import time

from worker.minder.files import numbers, read_text, write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PREFIX", "Base", "pids_below", "remove_tree", "sweep"]

PREFIX = "millhand-runs-"
NAME_LENGTH = 64
TRIES = 5  # somebody who sweeps just now holds the lock for a moment
PAUSES_S = (0.001, 0.002, 0.004, 0.008)  # a group is busy until the dead in it are gone for good
KILL_ROUNDS = 50
SWEPT_MOST = 100  # folders looked at in one start


class Base:
    """A locked folder of one's own."""

    __slots__ = ("controllers", "folder", "lock_fd", "version")

    def __init__(self, version: int, folder: str, lock_fd: int, controllers: frozenset[str]) -> None:
        """Set the values; use `make`."""
        self.version = version
        self.folder = folder
        self.lock_fd = lock_fd
        self.controllers = controllers

    @classmethod
    def make(cls, own: str, version: int, name: str, controllers: frozenset[str]) -> Base:
        """Make the folder below the own group, after what dead agents left there was removed.

        Raises:
            OSError: it may not be made.
        """
        sweep(own)
        folder = f"{own}/{PREFIX}{plain_name(name)}-{os.getpid()}"
        for _ in range(TRIES):
            with contextlib.suppress(FileExistsError):  # of a dead one with our pid, and it could not go
                os.mkdir(folder)
            lock_fd = locked(folder)
            if lock_fd is not None:
                return cls(version, folder, lock_fd, controllers)
            time.sleep(PAUSES_S[1])
        raise OSError(errno.EBUSY, "somebody else holds the folder", folder)

    def remove(self) -> None:
        """Remove the folder and what is below it, as far as nothing runs there; give back the lock."""
        remove_tree(self.folder)
        os.close(self.lock_fd)


def plain_name(name: str) -> str:
    """Return a name without what the name of a folder should not have."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:NAME_LENGTH] or "agent"


def locked(folder: str) -> int | None:
    """Lock a folder that is there; None where somebody else has the lock, or removed it meanwhile."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
            return descriptor
    except OSError:  # held, or gone, or a kernel that locks no such folders: then nothing is known
        pass
    os.close(descriptor)
    return None


def sweep(own: str) -> int:
    """Remove what dead agents left below a group, and kill what runs there; return how many were removed."""
    try:
        names = [name for name in os.listdir(own) if name.startswith(PREFIX)]
    except OSError:
        return 0
    return sum(sweep_one(f"{own}/{name}") for name in sorted(names)[:SWEPT_MOST])


def sweep_one(folder: str) -> bool:
    """Remove one agent's folder if its owner is dead; tell whether it is gone."""
    lock_fd = locked(folder)
    if lock_fd is None:
        return False
    try:
        kill_all(folder)
        return remove_tree(folder)
    finally:
        os.close(lock_fd)


def kill_all(folder: str) -> None:
    """Kill every process of a group and of those below, bounded: in the end it may still fork."""
    for _ in range(KILL_ROUNDS):
        pids = pids_below(folder)
        if not pids:
            return
        try:
            write_text(f"{folder}/cgroup.kill", "1")
        except OSError:  # v1, and kernels before 5.14
            for pid in pids:
                kill_member(pid, os.path.basename(folder))
        time.sleep(PAUSES_S[0])


def kill_member(pid: int, group_name: str) -> None:
    """Kill a process if it is, still, one of that group."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if f"/{group_name}" in (read_text(f"/proc/{pid}/cgroup") or ""):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except OSError:
        pass  # it is gone, or another user's: then the group stays
    finally:
        os.close(descriptor)


def pids_below(folder: str) -> list[int]:
    """Return the processes of a group and of the groups below it."""
    return [pid for group in groups_below(folder) for pid in numbers(f"{group}/cgroup.procs") if pid > 0]


def groups_below(folder: str) -> Iterator[str]:
    """Yield a group and those below it, the lowest first."""
    for path, _, _ in os.walk(folder, topdown=False):
        yield path


def remove_tree(folder: str) -> bool:
    """Remove a group and those below it; tell whether it is gone. It waits some milliseconds for the dead."""
    for pause_s in (*PAUSES_S, None):
        try:
            for path in groups_below(folder):
                os.rmdir(path)
        except OSError as exc:
            if exc.errno not in (errno.EBUSY, errno.ENOTEMPTY, errno.ENOENT) or pause_s is None:
                return False
            time.sleep(pause_s)
        else:
            return True
    return False
