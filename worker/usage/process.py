"""What one process has consumed, and the tree below it, read from Linux' /proc.

Formats: proc_pid_stat(5), proc_pid_status(5), proc_pid_io(5), proc_pid_smaps(5). A walk goes by
`task/*/children`, so it costs by the size of the tree; that of psutil reads every process there is.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from worker.minder.files import read_once

__all__ = ["Key", "ProcessReading", "pss_bytes", "read_process", "read_tree", "reset_peak", "vm_hwm_bytes"]

MAX_LIST_BYTES = 131_072  # 16,000 pids of seven digits in `children`
PIECE_BYTES = 16 * 1024  # a page is what comes; to make room for all of the list takes 10 µs
MAX_PROCESSES = 10_000  # a bound against a fork bomb; what is beyond is seen when it was reaped
TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
Memory = tuple[int | None, int | None, int | None, int | None]  # of a process; see `memory_of`
UNKNOWN: Memory = (None, None, None, None)
DISK = re.compile(rb"\nread_bytes: (\d+)\nwrite_bytes: (\d+)\n")
MEMORY = re.compile(
    rb"\nVmHWM:\s*(\d+) kB\nVmRSS:\s*\d+ kB\nRssAnon:\s*(\d+) kB\nRssFile:\s*(\d+) kB\nRssShmem:\s*(\d+) kB\n"
)


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
    anonymous_bytes: int | None = None  # the part of that which no other process can have too
    file_bytes: int | None = None  # pages of files that it maps
    hwm_bytes: int | None = None  # the highest of both together since it began, or since `reset_peak`
    read_bytes: int | None = None  # from devices, its own and of the children it has waited for
    written_bytes: int | None = None  # the same: what it made dirty, which is or will be written
    reaped_faults: int = 0  # pages that the children it has waited for, and theirs, began to use

    @property
    def is_at_peak(self) -> bool:
        """Tell whether it never held more than it does."""
        return None not in (self.ram_bytes, self.file_bytes) and self.hwm_bytes == (self.ram_bytes or 0) + (
            self.file_bytes or 0
        )

    @property
    def total_s(self) -> float:
        """Return what is charged to it: its own CPU and that of the children it has waited for."""
        return self.own_s + self.reaped_s

    @property
    def total_system_s(self) -> float:
        """Return the system part of `total_s`."""
        return self.own_system_s + self.reaped_system_s


class Root(Protocol):
    """Reads the process at the top of a tree."""

    def read(self, *, is_full: bool) -> ProcessReading | None:
        """Return what it has consumed; None where it is gone."""

    def child_pids(self, threads: int) -> list[int]:
        """Return its children, of all its threads."""


class AnyRoot(NamedTuple):
    """A process by its pid."""

    pid: int

    def read(self, *, is_full: bool) -> ProcessReading | None:
        """Read it."""
        return read_process(self.pid, is_full=is_full)

    def child_pids(self, threads: int) -> list[int]:
        """Return its children."""
        return child_pids(self.pid, threads)


def read_process(pid: int, *, is_full: bool = True) -> ProcessReading | None:
    """Read one process; None where it is gone. A zombie still has its CPU, but no memory.

    Without `is_full` its CPU alone, which costs about half.
    """
    if not (stat := read_once(f"/proc/{pid}/stat")):
        return None
    if not is_full:
        return reading_of(pid, fields_of(stat))
    memory = memory_of(read_once(f"/proc/{pid}/status"))
    return reading_of(pid, fields_of(stat), memory, read_once(f"/proc/{pid}/io"))


def reading_of(
    pid: int, fields: list[bytes], memory: Memory = UNKNOWN, disk: bytes | None = None
) -> ProcessReading:
    """Return what the fields of `stat`, the memory of `status` and the text of `io` say of a process."""
    system_s = int(fields[12]) * TICK_S
    reaped_s, reaped_system_s, reaped_faults = 0.0, 0.0, 0
    if has_reaped := not fields[8] == fields[10] == fields[13] == fields[14] == b"0":
        reaped_system_s = int(fields[14]) * TICK_S
        reaped_s = int(fields[13]) * TICK_S + reaped_system_s
        reaped_faults = int(fields[8]) + int(fields[10])
    exact_s = cpu_clock_s(pid)
    hwm, anonymous, files, shared = memory
    told = DISK.search(disk) if disk else None
    return ProcessReading(  # in their order: by name it takes as long as to read all of them
        Key(pid, int(fields[19])),
        int(fields[1]),
        int(fields[17]),
        int(fields[11]) * TICK_S + system_s if exact_s is None else exact_s,
        system_s,
        reaped_s,
        reaped_system_s,
        has_reaped,
        exact_s is not None,
        None if anonymous is None or shared is None else anonymous + shared,
        anonymous,
        files,
        hwm,
        None if told is None else int(told[1]),
        None if told is None else int(told[2]),
        reaped_faults,
    )


def memory_of(status: bytes | None) -> Memory:
    """Return the bytes of VmHWM, RssAnon, RssFile and RssShmem; they stand together since Linux 4.5."""
    if not status:
        return UNKNOWN
    if (found := MEMORY.search(status)) is not None:
        hwm, anonymous, files, shared = map(int, found.groups())
        return hwm * 1024, anonymous * 1024, files * 1024, shared * 1024
    return (
        kib_field(status, b"VmHWM:"),
        kib_field(status, b"RssAnon:"),
        kib_field(status, b"RssFile:"),
        kib_field(status, b"RssShmem:"),
    )


def read_tree(
    pid: int, known: Iterable[Key] = (), is_full: bool = True, root: Root | None = None
) -> dict[Key, ProcessReading]:
    """Read a process, all below it, and those of `known` that live on elsewhere (orphans).

    Where `known` holds the process, another one that came to its pid is not taken for it. `root` reads
    the process itself, where somebody has its files open.
    """
    readings: dict[Key, ProcessReading] = {}
    root_key, others = None, []
    for key in known:
        if key.pid == pid and root_key is None:
            root_key = key
        else:
            others.append(key)
    gather(root or AnyRoot(pid), root_key, readings, is_full)
    for key in others:
        if key not in readings:
            gather(AnyRoot(key.pid), key, readings, is_full)
    return readings


def gather(root: Root, key: Key | None, readings: dict[Key, ProcessReading], is_full: bool) -> None:
    """Add a process and all below it to `readings`, unless it is gone or no longer the one with `key`."""
    reading = root.read(is_full=is_full)
    if reading is None or key not in (None, reading.key) or len(readings) >= MAX_PROCESSES:
        return
    readings[reading.key] = reading
    waiting = read_new(pids, readings, is_full) if (pids := root.child_pids(reading.threads)) else []
    while waiting and len(readings) < MAX_PROCESSES:
        reading = waiting.pop()
        readings[reading.key] = reading
        waiting += read_new(child_pids(reading.key.pid, reading.threads), readings, is_full)


def read_new(pids: Iterable[int], readings: dict[Key, ProcessReading], is_full: bool) -> list[ProcessReading]:
    """Read processes, as far as they are there; without those that were read before."""
    found = (read_process(pid, is_full=is_full) for pid in pids)
    return [reading for reading in found if reading is not None and reading.key not in readings]


def child_pids(pid: int, threads: int) -> list[int]:
    """Return the children of all threads of a process; empty where it is gone."""
    try:
        tids = [str(pid)] if threads == 1 else os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - names
    except OSError:
        return []
    texts = [read_list(f"/proc/{pid}/task/{tid}/children") for tid in tids]
    if tids and all(text is None for text in texts) and Path(f"/proc/{pid}/stat").exists():
        return children_by_scan(pid)  # a kernel without CONFIG_PROC_CHILDREN
    whole = (text.rpartition(b" ")[0] for text in texts if text)  # a space follows each: none is cut in two
    return [int(child) for text in whole for child in text.split()]


def children_by_scan(pid: int) -> list[int]:
    """Return the children of a process by asking every process for its parent."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - names only
        stat = read_once(f"/proc/{name}/stat") if name.isdigit() else None
        if stat and int(fields_of(stat)[1]) == pid:
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


def fields_of(stat: bytes) -> list[bytes]:
    """Return the fields of `/proc/<pid>/stat` from the third on (state), as far as the resident pages."""
    return stat.rpartition(b")")[2].split(None, 22)  # the name before may hold anything


def vm_hwm_bytes(pid: int) -> int | None:
    """Return the highest RSS that a process had, None where that cannot be read."""
    return kib_field(read_once(f"/proc/{pid}/status") or b"", b"VmHWM:")


def pss_bytes(pid: int) -> int | None:
    """Return a process's share of the anonymous and shared memory that it maps: a page of n users by n.

    The kernel walks all its pages: a tenth of a millisecond, more with its size. None where it is gone,
    not ours to read, or the kernel does not tell (before 5.9).
    """
    rollup = read_once(f"/proc/{pid}/smaps_rollup") or b""
    anonymous, shared = kib_field(rollup, b"Pss_Anon:"), kib_field(rollup, b"Pss_Shmem:")
    return None if anonymous is None or shared is None else anonymous + shared


def kib_field(status: bytes, name: bytes) -> int | None:
    """Return one `Name:  123 kB` line of a status file in bytes."""
    _, found, rest = status.partition(b"\n" + name)
    return int(rest.split(None, 1)[0]) * 1024 if found else None


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


def read_list(path: str) -> bytes | None:
    """Return the text of a list, which the kernel gives a page or so at a time; None where it is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return b"".join(pieces(fd))
    except OSError:
        return None
    finally:
        os.close(fd)


def pieces(fd: int) -> Iterator[bytes]:
    """Yield what can be read, to the bound."""
    left_bytes = MAX_LIST_BYTES
    while left_bytes > 0 and (piece := os.read(fd, min(left_bytes, PIECE_BYTES))):
        left_bytes -= len(piece)
        yield piece
