"""Processes and their descent, by /proc (proc(5)); and signals that reach exactly who is meant."""

from __future__ import annotations

import contextlib
import errno
import os
import signal

from worker.minder.files import numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

__all__ = [
    "WANT",
    "ProcessStat",
    "below",
    "child_pids",
    "every_process",
    "has_just",
    "read_stat",
    "reap_orphans",
    "send_signal",
]

WANT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})  # of what the kernel needs for a look
READ_BYTES = 64 * 1024


class ProcessStat:
    """What /proc/<pid>/stat says of a process."""

    __slots__ = ("name", "parent_pid", "pid", "session", "started_ticks", "state", "threads")

    def __init__(self, pid: int, text: str) -> None:
        """Read the text of the file."""
        name, _, rest = text.partition("(")[2].rpartition(")")  # the name may hold anything
        fields = rest.split()
        self.pid = pid
        self.name = name
        self.state = fields[0]
        self.parent_pid = int(fields[1])
        self.session = int(fields[3])
        self.threads = int(fields[17])
        self.started_ticks = int(fields[19])  # since boot; with the pid it names a process for good

    @property
    def key(self) -> tuple[int, int]:
        """Return what names the process for good."""
        return self.pid, self.started_ticks

    @property
    def is_dead(self) -> bool:
        """Tell whether it only waits to be reaped: its first thread ended, and no other goes on."""
        return self.state in "ZX" and self.threads <= 1


def read_stat(pid: int) -> ProcessStat | None:
    """Return the state of a process; None where there is none.

    Raises:
        OSError: it cannot be looked at now, which does not mean that it is gone.
    """
    try:
        return ProcessStat(pid, read_once(f"/proc/{pid}/stat").decode(errors="replace"))
    except OSError as exc:
        if exc.errno in WANT:
            raise
        return None
    except (IndexError, ValueError):
        return None


def every_process() -> Iterator[ProcessStat]:
    """Yield every process of this machine (of this pid namespace)."""
    for name in os.listdir("/proc"):
        if name.isdecimal() and (stat := read_stat(int(name))) is not None:
            yield stat


def below(roots: Iterable[int], processes: dict[int, ProcessStat]) -> dict[int, ProcessStat]:
    """Return the processes that descend from any of some pids, those themselves not among them."""
    children: dict[int, list[int]] = {}
    for stat in processes.values():
        children.setdefault(stat.parent_pid, []).append(stat.pid)
    roots = list(roots)
    found: dict[int, ProcessStat] = {}
    waiting = list(roots)
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            if pid not in found and pid not in roots:
                found[pid] = processes[pid]
                waiting.append(pid)
    return found


def child_pids(pid: int) -> list[int] | None:
    """Return the direct children of a process, the dead ones too; None where the kernel does not tell.

    Those of a process that starts and loses children meanwhile may be incomplete (proc(5)).
    """
    threads = f"/proc/{pid}/task"
    try:
        texts = [read_once(f"{threads}/{thread}/children") for thread in os.listdir(threads)]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN, or a thread that just ended
        return None
    return [int(child) for text in texts for child in text.split()]


def reap_orphans(known: Collection[int]) -> None:
    """Reap what became our child and has ended, but not those who are known; about 20 µs if there is none."""
    for pid in numbers(f"/proc/{os.getpid()}/task/{os.getpid()}/children"):
        if pid not in known:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def has_just(pid: int, wanted: Collection[int]) -> bool:
    """Tell whether a process's children are these and no others, dead ones that nobody reaps too.

    What is below them is theirs; who loses its parent comes up here. About 30 µs.
    """
    children = child_pids(pid)
    if children is None:
        children = [one.pid for one in every_process() if one.parent_pid == pid]
    return set(children) == set(wanted)


def send_signal(stat: ProcessStat, number: int) -> None:
    """Send a signal to exactly this process, never to one that got its pid since.

    Raises:
        OSError: it cannot be looked at now.
    """
    try:
        descriptor = os.pidfd_open(stat.pid)
    except OSError as exc:
        if exc.errno in WANT:
            raise
        return
    try:
        now = read_stat(stat.pid)
        if now is not None and now.key == stat.key:
            signal.pidfd_send_signal(descriptor, number)
    except (ProcessLookupError, PermissionError):
        pass  # it is gone; or another user's, which the caller sees by its living on
    finally:
        os.close(descriptor)


def read_once(path: str) -> bytes:
    """Read a small file of /proc in one call."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, READ_BYTES)
    finally:
        os.close(descriptor)
