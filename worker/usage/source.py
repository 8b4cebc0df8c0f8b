"""Where the counters of a process tree come from: /proc on Linux, psutil elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from worker.usage.process import Key, ProcessReading, read_tree, reset_peak
from worker.usage.process_files import ProcessFiles

if TYPE_CHECKING:
    import psutil

__all__ = ["Source", "source_of", "source_of_this_system"]


def unlisted() -> None:
    """Tell that nobody knows a root's children but who reads them."""


class Source(NamedTuple):
    """A way to read a tree of processes: the root first, empty where the root is gone."""

    read_tree: Callable[
        [int, Iterable[Key], bool], dict[Key, ProcessReading]
    ]  # the last: memory and disk too
    cpu_method: str  # with a CPU clock
    coarse_cpu_method: str  # without
    reset_peak: Callable[[int], str] = reset_peak  # sets a peak of RAM back; returns "" or why it cannot be
    listed: Callable[[], frozenset[int] | None] = (
        unlisted  # the children of the root, as the kernel named them last
    )

    def cpu_method_of(self, reading: ProcessReading) -> str:
        """Return how the CPU of a process was read."""
        return self.cpu_method if reading.is_exact else self.coarse_cpu_method


@cache
def source_of_this_system() -> Source:
    """Return /proc where the system has one, else psutil."""
    if Path("/proc/self/stat").exists():
        return Source(read_tree, "process_clock", "proc_stat")
    return Source(read_tree_with_psutil, "psutil", "psutil")


def source_of(files: ProcessFiles) -> Source:
    """Return what reads the tree of a process whose files are open; without /proc, what reads any."""
    source = source_of_this_system()
    if source.read_tree is not read_tree:
        return source
    return source._replace(
        read_tree=partial(read_tree, root=files),
        reset_peak=lambda _: files.reset_peak(),
        listed=lambda: files.listed,
    )


def read_tree_with_psutil(
    pid: int, known: Iterable[Key] = (), is_full: bool = True
) -> dict[Key, ProcessReading]:
    """Read a tree on systems without /proc: slower, in coarser steps, and blind to orphans."""
    import psutil  # noqa: PLC0415 - Linux does without; it takes 1 MiB

    readings: dict[Key, ProcessReading] = {}
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            reading = read_with_psutil(process)
            readings[reading.key] = reading if is_full else reading._replace(ram_bytes=None, hwm_bytes=None)
    except psutil.Error:
        pass  # what ended meanwhile is missing, as it is in /proc
    expected = [key for key in known if key.pid == pid]
    return readings if not expected or expected[0] in readings else {}


def read_with_psutil(process: psutil.Process) -> ProcessReading:
    """Read one process through psutil."""
    with process.oneshot():
        cpu, memory = process.cpu_times(), process.memory_info()
        reaped_user_s = getattr(cpu, "children_user", 0.0)
        reaped_system_s = getattr(cpu, "children_system", 0.0)
        return ProcessReading(
            key=Key(process.pid, int(process.create_time() * 1000)),
            parent_pid=process.ppid(),
            threads=process.num_threads(),
            own_s=cpu.user + cpu.system,
            own_system_s=cpu.system,
            reaped_s=reaped_user_s + reaped_system_s,
            reaped_system_s=reaped_system_s,
            has_reaped=True,
            is_exact=False,
            ram_bytes=memory.rss,  # with mapped files, which it does not tell apart
            hwm_bytes=getattr(memory, "peak_wset", None),
        )
