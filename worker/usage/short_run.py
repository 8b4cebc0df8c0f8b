"""The bill of a run that was over before a sample was due, in a process that had nobody below it.

Two looks are all that is known of it, so that it needs no books: they would say the same.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Self

from worker.usage.bill import gpu_allocated_s, less, ratio
from worker.usage.ledger import Cpu, split
from worker.usage.look import Look
from worker.usage.process import ProcessReading
from worker.usage.ram import MISSED
from worker.usage.readings import has_reaped_between
from worker.usage.usage import Usage

__all__ = ["ShortRun"]

NOTHING: Final = Cpu(0.0, 0.0)


class ShortRun(NamedTuple):
    """Two looks at one and the same process alone, both of which tell all that there is to be told."""

    first: Look
    last: Look
    cpu_method: str  # where no group counts it
    mark_reason: str  # why the peak of RAM could not be set back; "" where it was

    @classmethod
    def between(cls, first: Look, last: Look, cpu_method: str, mark_reason: str) -> Self | None:
        """Return the run between two looks; None where it takes books to say what it consumed."""
        if len(first.readings) != 1 or first.readings.keys() != last.readings.keys():
            return None
        if (first.cpu_s is None, first.held_bytes is None) != (last.cpu_s is None, last.held_bytes is None):
            return None
        (before,), (after,) = first.readings.values(), last.readings.values()
        is_whole = tells_all(before) and tells_all(after)
        return cls(first, last, cpu_method, mark_reason) if is_whole else None

    def usage(self, now_mono: float, gpus: float) -> Usage:
        """Return its figures at its end, which are complete."""
        first, last = self.first, self.last
        (before,), (after,) = first.readings.values(), last.readings.values()
        wall_s = now_mono - first.at_mono
        covered_s = last.at_mono - first.at_mono
        cpu, cpu_method = self._cpu(before, after)
        if first.held_bytes is None or last.held_bytes is None:
            held, held_method = (before.ram_bytes or 0, after.ram_bytes or 0), "tree_rss_sampled"
        else:
            held, held_method = (first.held_bytes, last.held_bytes), "cgroup_sampled"
        marked_bytes = self._marked_bytes(before, after)
        is_marked = marked_bytes >= max(held)
        is_missed = has_reaped_between(first.readings, last.readings)
        reason = self.mark_reason or (MISSED if is_missed else "")
        return Usage(
            wall_s=wall_s,
            cpu_user_s=cpu.user_s,
            cpu_system_s=cpu.system_s,
            ram_peak_bytes=marked_bytes if is_marked else max(held),
            ram_average_bytes=round(sum(held) / 2) if covered_s > 0 else held[1],
            disk_read_bytes=max(0, (after.read_bytes or 0) - (before.read_bytes or 0)),
            disk_written_bytes=max(0, (after.written_bytes or 0) - (before.written_bytes or 0)),
            gpu_allocated_s=gpu_allocated_s(wall_s, gpus),
            complete=True,
            methods={
                "wall_s": "clock",
                "gpu_allocated_s": "wall_x_gpus",
                "cpu_user_s": cpu_method,
                "cpu_system_s": cpu_method,
                "ram_peak_bytes": "vm_hwm" if is_marked else held_method,
                "ram_average_bytes": held_method,
                "disk_read_bytes": "proc_io_tree",
                "disk_written_bytes": "proc_io_tree",
            },
            coverage={
                "wall_s": 1.0,
                "gpu_allocated_s": 1.0,
                "cpu_user_s": 1.0,
                "cpu_system_s": 1.0,
                "ram_peak_bytes": less(1.0, covered_s, wall_s) if is_missed else 1.0,
                "ram_average_bytes": ratio(covered_s, wall_s),
                "disk_read_bytes": 1.0,
                "disk_written_bytes": 1.0,
            },
            reasons={"ram_peak_bytes": reason} if reason else {},
        )

    def _cpu(self, before: ProcessReading, after: ProcessReading) -> tuple[Cpu, str]:
        """Return its CPU, and by which method."""
        since, until = self.first.cpu_s, self.last.cpu_s
        if since is not None and until is not None:
            return split(NOTHING, until[0] - since[0], until[1] - since[1]), "cgroup"
        total_s = after.total_s - before.total_s
        return split(NOTHING, total_s, after.total_system_s - before.total_system_s), self.cpu_method

    def _marked_bytes(self, before: ProcessReading, after: ProcessReading) -> int:
        """Return the most that the kernel's mark tells of the run, without files; 0: nothing. See `Ram`."""
        ram_bytes, files = before.ram_bytes or 0, before.file_bytes or 0
        mark_bytes, hwm_bytes = ram_bytes + files, after.hwm_bytes or 0
        if self.mark_reason:  # it is where it was before
            ram_bytes, mark_bytes = 0, before.hwm_bytes or 0
        if hwm_bytes <= mark_bytes:
            return ram_bytes
        return max(ram_bytes, hwm_bytes - max(files, after.file_bytes or 0))


def tells_all(reading: ProcessReading) -> bool:
    """Tell whether memory and disk could be read."""
    memory = reading.ram_bytes, reading.file_bytes, reading.hwm_bytes
    return None not in memory and reading.read_bytes is not None and reading.written_bytes is not None
