"""What processes cost, read from /proc (proc_pid_stat(5), proc_pid_smaps_rollup(5), schedstat)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

__all__ = [
    "cpu_of_living_s",
    "cpu_of_tree_s",
    "pss_bytes",
    "pss_of_tree_bytes",
    "tree",
    "waits_of",
    "waits_of_tree",
]

PROC: Final = Path("/proc")
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class Stat(NamedTuple):
    """The parts of /proc/<pid>/stat that are wanted here."""

    parent_pid: int
    cpu_s: float  # its own and that of the children it has reaped; steps of 10 ms


def stat_of(pid: int) -> Stat | None:
    """Read one process; None where it has gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")  # a process may be named by any bytes
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold anything; state is field 3
    return Stat(int(fields[1]), sum(map(int, fields[11:15])) / TICKS_PER_S)


def tree(root: int) -> list[int]:
    """Return a process and all that descend from it, as they are now."""
    stats = {int(entry.name): stat_of(int(entry.name)) for entry in PROC.iterdir() if entry.name.isdigit()}
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        if stat is not None:
            children.setdefault(stat.parent_pid, []).append(pid)
    found = [root]
    for pid in found:  # grows while it is walked
        found += children.get(pid, [])
    return found


def cpu_of_tree_s(root: int) -> float:
    """Return the CPU seconds of a tree: what lives, and what was reaped in it."""
    return sum(stat.cpu_s for pid in tree(root) if (stat := stat_of(pid)) is not None)


def cpu_of_living_s(root: int) -> float | None:
    """Return the CPU seconds of every thread that lives in a tree, to the nanosecond; None where not told.

    For idle times, which the steps of 10 ms of `cpu_of_tree_s` would show as nothing.
    """
    try:
        lines = [
            (thread / "schedstat").read_text()
            for pid in tree(root)
            for thread in (PROC / str(pid) / "task").iterdir()
        ]
    except OSError:
        return None
    return sum(int(line.split()[0]) for line in lines) / 1e9


def pss_of_tree_bytes(root: int) -> int | None:
    """Return the proportional memory of a tree; None where the kernel does not tell."""
    sizes = [pss_bytes(pid) for pid in tree(root)]
    return None if None in sizes else sum(size or 0 for size in sizes)


def pss_bytes(pid: int) -> int | None:
    """Return the proportional memory of one process; None where the kernel does not tell."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


def waits_of_tree(root: int) -> int:
    """Return how often the threads that live in a tree have begun to wait; each wait ends in a wake-up."""
    return sum(waits_of(pid) for pid in tree(root))


def waits_of(pid: int) -> int:
    """Return how often the threads of one process have begun to wait (proc_pid_status(5))."""
    texts = [(thread / "status").read_text() for thread in (PROC / str(pid) / "task").iterdir()]
    return sum(int(text.partition("\nvoluntary_ctxt_switches:")[2].split(None, 1)[0]) for text in texts)
