"""Find and end every process of a child's tree, by /proc (proc(5)).

A process belongs to the tree if it descends from the child, is in the child's session, or carries
the child's mark in its environment. While the child lives it is the subreaper of its tree, so
descent alone finds all; after its death the session and the mark find orphans. What escapes all
three has changed its session, wiped its environment and lost its parent, on purpose.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from worker.executor.environment import TREE_MARK

__all__ = ["ProcessStat", "end_descendants", "has_descendants", "members", "read_stat"]

PROC: Final = Path("/proc")
READ_BYTES: Final = 4096
FIRST_PAUSE_S: Final = 0.002
LONGEST_PAUSE_S: Final = 0.1


class ProcessStat(NamedTuple):
    """What /proc/<pid>/stat says of a process."""

    pid: int
    state: str
    parent_pid: int
    session: int
    started_ticks: int  # since boot; with the pid it names a process for good

    @property
    def is_dead(self) -> bool:
        """Tell whether it only waits to be reaped."""
        return self.state in "ZX"


def read_stat(pid: int) -> ProcessStat | None:
    """Return the state of a process; None where there is none."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before may hold anything
    return ProcessStat(pid, fields[0], int(fields[1]), int(fields[3]), int(fields[19]))


def every_process() -> Iterator[ProcessStat]:
    """Yield every process of this machine (of this pid namespace)."""
    for name in os.listdir(PROC):  # noqa: PTH208 - names are all that is needed, and it is much faster
        if name.isdecimal() and (stat := read_stat(int(name))) is not None:
            yield stat


def members(child_pid: int, mark: str | None = None) -> dict[int, ProcessStat]:
    """Return the living processes of a tree, the child itself not among them.

    Args:
        child_pid: the child, not yet reaped: its pid is then nobody else's, and so is its session.
        mark: look for it in the environments too; costs a file more a process.
    """
    processes = {stat.pid: stat for stat in every_process()}
    found = {
        pid
        for pid, stat in processes.items()
        if stat.session == child_pid or (mark is not None and has_mark(pid, mark))
    } | {child_pid}
    grown = True
    while grown:
        below = {pid for pid, stat in processes.items() if stat.parent_pid in found}
        grown = not below <= found
        found |= below
    found -= {child_pid, os.getpid()}
    return {pid: stat for pid, stat in processes.items() if pid in found and not stat.is_dead}


def has_mark(pid: int, mark: str) -> bool:
    """Tell whether a process was started with a mark in its environment."""
    try:
        return f"{TREE_MARK}={mark}".encode() in (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:  # gone, or another user's: not ours
        return False


def has_descendants(child_pid: int) -> bool:
    """Tell whether a living child has living processes below it; about 50 µs where it has none."""
    try:
        threads = f"{PROC}/{child_pid}/task"  # strings: this is done after every run
        below = [
            int(pid)
            for thread in os.listdir(threads)  # noqa: PTH208 - see above
            for pid in read_once(f"{threads}/{thread}/children").split()
        ]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN, or a thread that just ended
        return bool(members(child_pid))
    return any((stat := read_stat(pid)) is not None and not stat.is_dead for pid in below)


def read_once(path: str) -> bytes:
    """Read a small file of /proc: at least its first entries, which is enough to know of them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, READ_BYTES)
    finally:
        os.close(descriptor)


async def end_descendants(child_pid: int, mark: str | None) -> None:
    """Kill every process of the tree but the child, again until none is left.

    It does not return while one lives: a process in an uninterruptible call (a driver, a dead file
    server) dies when the call ends, and only then nothing runs twice.
    """
    pause_s = FIRST_PAUSE_S
    seen: set[int] = set()
    while alive := await asyncio.to_thread(members, child_pid, mark):
        for stat in alive.values():
            kill(stat)
        seen |= alive.keys()
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    for pid in seen:
        reap_if_ours(pid)


def kill(stat: ProcessStat) -> None:
    """Kill exactly this process, never one that got its pid since."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        descriptor = os.pidfd_open(stat.pid)
        try:
            now = read_stat(stat.pid)
            if now is not None and now.started_ticks == stat.started_ticks:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)


def reap_if_ours(pid: int) -> None:
    """Reap an orphan of the tree that became our child (we are PID 1 or a subreaper); else nothing."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
