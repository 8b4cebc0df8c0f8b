"""What one process has consumed, and the tree below it, read from Linux' /proc.

Formats: proc_pid_stat(5), proc_pid_status(5), proc_pid_io(5), proc_pid_smaps(5). A walk goes by
`task/*/children`, so it costs by the size of the tree; psutil's `children(recursive=True)` reads every
process of the machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Key", "ProcessReading", "pss_bytes", "read_process", "read_tree", "reset_peak", "vm_hwm_bytes"]

MAX_FILE_BYTES = 131_072  # 16,000 pids of seven digits in `children`; the others need 2 KiB
MAX_PROCESSES = 10_000  # a bound against a fork bomb; what is beyond is seen when it was reaped


class Key(NamedTuple):
    """One process for good: a pid comes back, a pid with its start time does not."""

    pid: int
    started_ticks: int


class ProcessReading(NamedTuple):
    """The counters of one process at one moment. CPU in seconds since the process began.

    Memory and disk are None where they were not asked for or cannot be read; a zombie has no memory.
    """

    key: Key
    parent_pid: int
    threads: int
    own_s: float  # user and system of all its threads, ended ones too
    own_system_s: float
    reaped_s: float  # user and system of the children it has waited for, and theirs
    reaped_system_s: float
    has_reaped: bool
    is_exact: bool  # own_s comes from the CPU clock (ns), not from ticks
    ram_bytes: int | None = None  # anonymous and shared memory that it maps
    file_bytes: int | None = None  # pages of files that it maps
    hwm_bytes: int | None = None  # the highest of both together since it began, or since `reset_peak`
    read_bytes: int | None = None  # from devices, its own and of the children it has waited for
    written_bytes: int | None = None  # the same: what it made dirty, which is or will be written

    @property
    def total_s(self) -> float:
        """Return what is charged to it: its own CPU and that of the children it has waited for."""
        return self.own_s + self.reaped_s

    @property
    def total_system_s(self) -> float:
        """Return the system part of `total_s`."""
        return self.own_system_s + self.reaped_system_s


def read_process(pid: int, *, is_full: bool = True) -> ProcessReading | None:
    """Read one process; None where it is gone. A zombie still has its CPU, but no memory.

    Without `is_full` its CPU alone, which costs about half.
    """
    stat = stat_fields(pid)
    if stat is None:
        return None
    tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
    user_s, system_s, reaped_user_s, reaped_system_s = (int(field) * tick_s for field in stat[11:15])
    exact_s = cpu_clock_s(pid)
    reading = ProcessReading(
        key=Key(pid, int(stat[19])),
        parent_pid=int(stat[1]),
        threads=int(stat[17]),
        own_s=user_s + system_s if exact_s is None else exact_s,
        own_system_s=system_s,
        reaped_s=reaped_user_s + reaped_system_s,
        reaped_system_s=reaped_system_s,
        has_reaped=any(int(field) for field in (stat[8], stat[10], stat[13], stat[14])),
        is_exact=exact_s is not None,
    )
    return with_memory_and_disk(reading) if is_full else reading


def with_memory_and_disk(reading: ProcessReading) -> ProcessReading:
    """Return a reading with what status and io say."""
    status = read_text(f"/proc/{reading.key.pid}/status") or ""
    disk = read_text(f"/proc/{reading.key.pid}/io") or ""
    anonymous, shared = kib_field(status, "RssAnon:"), kib_field(status, "RssShmem:")
    return reading._replace(
        ram_bytes=None if anonymous is None or shared is None else anonymous + shared,
        file_bytes=kib_field(status, "RssFile:"),
        hwm_bytes=kib_field(status, "VmHWM:"),
        read_bytes=count_field(disk, "read_bytes:"),
        written_bytes=count_field(disk, "write_bytes:"),
    )


def read_tree(pid: int, known: Iterable[Key] = (), is_full: bool = True) -> dict[Key, ProcessReading]:
    """Read a process, all below it, and those of `known` that live on elsewhere (orphans).

    Where `known` holds the process, another one that came to its pid is not taken for it.
    """
    readings: dict[Key, ProcessReading] = {}
    known = tuple(known)
    gather(pid, next((key for key in known if key.pid == pid), None), readings, is_full)
    for key in known:
        if key not in readings:
            gather(key.pid, key, readings, is_full)
    return readings


def gather(pid: int, key: Key | None, readings: dict[Key, ProcessReading], is_full: bool) -> None:
    """Add a process and all below it to `readings`, unless it is gone or no longer the one with `key`."""
    root = read_process(pid, is_full=is_full)
    waiting = [root] if root is not None and key in (None, root.key) else []
    while waiting and len(readings) < MAX_PROCESSES:
        reading = waiting.pop()
        readings[reading.key] = reading
        pids = child_pids(reading.key.pid, reading.threads)
        children = (read_process(child, is_full=is_full) for child in pids)
        waiting += [child for child in children if child is not None and child.key not in readings]


def child_pids(pid: int, threads: int) -> list[int]:
    """Return the children of all threads of a process; empty where it is gone."""
    try:
        tids = [str(pid)] if threads == 1 else os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - names
    except OSError:
        return []
    texts = [read_text(f"/proc/{pid}/task/{tid}/children", is_long=True) for tid in tids]
    if tids and all(text is None for text in texts) and Path(f"/proc/{pid}/stat").exists():
        return children_by_scan(pid)  # a kernel without CONFIG_PROC_CHILDREN
    whole = (text.rpartition(" ")[0] for text in texts if text)  # a space follows each: none is cut in two
    return [int(child) for text in whole for child in text.split()]


def children_by_scan(pid: int) -> list[int]:
    """Return the children of a process by asking every process for its parent."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - names only
        stat = stat_fields(int(name)) if name.isdigit() else None
        if stat is not None and int(stat[1]) == pid:
            found.append(int(name))
    return found


def cpu_clock_s(pid: int) -> float | None:
    """Return the CPU seconds of a process and all its threads, to the nanosecond.

    The clock id is what clock_getcpuclockid(3) returns. `/proc/<pid>/schedstat` is as fine but
    covers the first thread only; `stat` covers all threads but counts in ticks of 10 ms.
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | 2) / 1e9
    except (OSError, AttributeError):
        return None


def stat_fields(pid: int) -> list[str] | None:
    """Return the fields of `/proc/<pid>/stat` from the third on (state), None where it is gone."""
    text = read_text(f"/proc/{pid}/stat")
    return text.rpartition(")")[2].split() if text else None


def vm_hwm_bytes(pid: int) -> int | None:
    """Return the highest RSS that a process had, None where that cannot be read."""
    return kib_field(read_text(f"/proc/{pid}/status") or "", "VmHWM:")


def pss_bytes(pid: int) -> int | None:
    """Return a process's share of the anonymous and shared memory that it maps: a page of n users by n.

    The kernel walks all its pages: a tenth of a millisecond, more with its size. None where it is gone,
    not ours to read, or the kernel does not tell (before 5.9).
    """
    text = read_text(f"/proc/{pid}/smaps_rollup") or ""
    anonymous, shared = kib_field(text, "Pss_Anon:"), kib_field(text, "Pss_Shmem:")
    return None if anonymous is None or shared is None else anonymous + shared


def kib_field(text: str, name: str) -> int | None:
    """Return one `Name:  123 kB` line of a status file in bytes."""
    _, found, rest = text.partition("\n" + name)
    return int(rest.split(None, 1)[0]) * 1024 if found else None


def count_field(text: str, name: str) -> int | None:
    """Return one `name: 123` line of an io file."""
    _, found, rest = text.partition("\n" + name)
    return int(rest.split(None, 1)[0]) if found else None


def reset_peak(pid: int) -> str:
    """Set VmHWM back to the present RSS; return "" or the reason why that was not possible."""
    try:
        fd = os.open(f"/proc/{pid}/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"5")
        finally:
            os.close(fd)
    except OSError as exc:
        return f"the peak of process {pid} could not be reset: {exc.strerror}"
    return ""


def read_text(path: str, *, is_long: bool = False) -> str | None:
    """Return a small file of /proc, None where it is gone or not ours to read.

    Plain system calls: a file object costs as much again, and this runs with every look. `children` alone
    may be longer than what the kernel gives at once, so that only it is read until nothing comes.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return (b"".join(pieces(fd)) if is_long else os.read(fd, MAX_FILE_BYTES)).decode("utf-8", "replace")
    except OSError:
        return None
    finally:
        os.close(fd)


def pieces(fd: int) -> Iterator[bytes]:
    """Yield what can be read, to the bound: the kernel gives a list a page or so at a time."""
    left_bytes = MAX_FILE_BYTES
    while left_bytes > 0 and (piece := os.read(fd, left_bytes)):
        left_bytes -= len(piece)
        yield piece
