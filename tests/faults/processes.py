"""Look for what a run left behind, independently of how the agent looks for it.

This process becomes the subreaper of all that it starts (prctl(2)), so an orphan, whatever it did
to its session, its environment and its descriptors, comes to be its child, and is found. What was
below it before, such as the helper of a process pool, is a bystander: neither counted nor killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

__all__ = ["Process", "adopting_orphans", "be_interruptible", "descendants", "descriptors", "is_minder"]

PR_SET_CHILD_SUBREAPER = 36

bystanders: set[tuple[int, int]] = set()  # pid and start of what was here before orphans were adopted


class Process(NamedTuple):
    """One line of /proc/<pid>/stat, with its command."""

    pid: int
    parent_pid: int
    state: str
    started: int  # ticks since boot: with the pid, what no other process has
    command: str

    @property
    def is_zombie(self) -> bool:
        """Tell whether it waits to be reaped."""
        return self.state in "ZX"


def read_process(pid: int) -> Process | None:
    """Return what a process is; None where it has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    name, _, rest = text.rpartition(")")
    fields = rest.split()
    shown = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return Process(pid, int(fields[1]), fields[0], int(fields[19]), shown or name.partition("(")[2])


def descendants(root: int | None = None) -> list[Process]:
    """Return the processes below one (below this one), zombies too, without bystanders."""
    everything = [one for path in Path("/proc").glob("[0-9]*") if (one := read_process(int(path.name)))]
    everything = [one for one in everything if (one.pid, one.started) not in bystanders]
    found, wanted = [], {os.getpid() if root is None else root}
    is_grown = True
    while is_grown:
        below = [one for one in everything if one.parent_pid in wanted and one.pid not in wanted]
        found += below
        wanted |= {one.pid for one in below}
        is_grown = bool(below)
    return found


def is_minder(one: Process) -> bool:
    """Tell whether a process is the minder of this one's executor, which lives as long as that."""
    return one.parent_pid == os.getpid() and "worker.minder" in one.command


def descriptors() -> dict[int, str]:
    """Return the open descriptors of this process and what they are."""
    found = {}
    for path in Path("/proc/self/fd").iterdir():
        try:
            found[int(path.name)] = str(path.readlink())
        except OSError:  # that of the listing itself
            continue
    return found


def be_interruptible() -> None:
    """Let Ctrl-C and SIGTERM end this process alike, also where a shell has started it in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))


@contextmanager
def adopting_orphans() -> Iterator[None]:
    """Have every orphan below this process become its child; what is below it already is a bystander."""
    libc = ctypes.CDLL(None)
    before = {(one.pid, one.started) for one in descendants()}
    bystanders.update(before)
    libc.prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)
    try:
        yield
    finally:
        bystanders.difference_update(before)
        libc.prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(0), 0, 0, 0)
