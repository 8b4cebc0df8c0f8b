"""The books of one run: what was counted at its looks, added up over births, deaths and adoptions."""

from __future__ import annotations

import time

from worker.usage.bill import Bill, Seen
from worker.usage.disk import DiskLedger
from worker.usage.ledger import CpuLedger, GroupCpu
from worker.usage.look import Look
from worker.usage.pace import Pace
from worker.usage.process import Key, ProcessReading
from worker.usage.ram import Ram, held_by_tree
from worker.usage.readings import has_reaped_between, root_of, settled
from worker.usage.run_group import RunGroup
from worker.usage.rusage import Rusage
from worker.usage.tree import Tree

__all__ = ["Books"]

SMALL_TREE = 3  # processes whose memory and disk are read with every sample
DETAILS_S = 10.0  # between two looks at the memory and the disk of larger ones, at least
TREE_SHARE = 0.0003  # of one core, for these looks …
GROUP_SHARE = 0.00002  # … and for those at the processes of a group, which tells most without
WALK_SHARE = 0.002  # … and for the CPU of a tree: one of hundreds of processes is seen less often
READINGS_MAX = 3  # of one look: where processes end during each, the third is taken as it is
GROUP_GONE = "the control group could not be read any more"


class Books:
    """What a run consumed, from its first look on. CPU and memory are the group's where it counts them."""

    def __init__(self, tree: Tree, group: RunGroup, first: Look, cpu_method: str, mark_reason: str) -> None:
        """Open them with the look that the run begins with.

        Args:
            tree: the run's processes, one of which is there in `first`.
            group: what counts in their control group.
            first: what was consumed before; it is not charged.
            cpu_method: how that of processes is read.
            mark_reason: why the peak of RAM could not be set back; "" where it was.
        """
        root = root_of(first.readings, tree.pid)
        assert root is not None
        self._tree = tree
        self._group = group
        self._ledger = CpuLedger(first.readings)
        self._disk = DiskLedger(root, first.readings)
        self._ram = Ram()
        self._ram.start(root, first.readings, mark_reason)
        self._full = first.readings  # the last full reading
        self._cpu_method = cpu_method
        self._group_cpu: GroupCpu | None = None
        if first.cpu_s is not None:
            self._group_cpu, self._cpu_method = GroupCpu(first.cpu_s), "cgroup"
        self._seen = Seen()
        self._seen.started_mono = self._seen.cpu_mono = self._seen.disk_mono = first.at_mono
        self._walks = Pace(WALK_SHARE, 0.0)
        self._has_group_memory = False
        self._take_group_memory(first.at_mono, first.held_bytes)
        self._pace = Pace(GROUP_SHARE if self._is_in_group else TREE_SHARE, DETAILS_S)
        self._look_at_memory(first.at_mono, first.readings, is_due=True)

    @property
    def is_of_now(self) -> bool:
        """Tell whether the CPU is that of the last look, and of no earlier time."""
        return not self._seen.cpu_reason

    def update(self, now: float, *, is_last: bool) -> str:
        """Look as far as it is due, the last time at everything; return "" or why not at the processes."""
        self._take_group(now, self._group.cpu_s(), self._group.memory_bytes())
        is_due = is_last or self._pace.is_due(now)
        if not is_due and (self._is_in_group or not self._walks.is_due(now)):
            return ""
        is_full = is_due or len(self._ledger.last) <= SMALL_TREE
        began_s = 0.0 if is_last else time.thread_time()
        readings, reason = self._read_settled(is_full=is_full)
        if reason:
            return reason
        self._take_readings(now, readings, is_full=is_full, is_due=is_due)
        if is_last:
            return ""
        cost_s = time.thread_time() - began_s
        if not is_due:
            self._walks.looked(now, cost_s)
        elif self._is_in_group or len(readings) > 1:
            self._pace.looked(now, cost_s)
        return ""

    def take(self, look: Look) -> None:
        """Take a full look that was made elsewhere."""
        self._take_group(look.at_mono, look.cpu_s, look.held_bytes)
        self._take_readings(look.at_mono, look.readings, is_full=True, is_due=True)

    def settle(
        self, now: float, rusage: Rusage, group_cpu_s: tuple[float, float] | None, *, is_sampled: bool
    ) -> None:
        """Close the books with what wait4 and the group say, beside the sums of orphans that still live.

        `is_sampled` says that a last look right before the process was ended saw the peak of RAM.
        """
        ledger = self._ledger
        readings, _ = self._read()
        root = root_of(ledger.last, self._tree.pid)
        if root is None:  # cannot be: a ledger begins with a root and keeps it
            return
        readings.pop(root.key, None)
        self._disk.settle(root.key, rusage, readings)
        ledger.update(readings | {root.key: settled(root, rusage)})
        if self._group_cpu is not None and group_cpu_s is not None:
            self._group_cpu.update(group_cpu_s)
        else:
            self._group_cpu, self._cpu_method = None, "wait4"
        self._seen.cpu_reason = ""
        self._ram.end(rusage.ru_maxrss * 1024, root.parent_pid, is_sampled=is_sampled)
        self._seen.cpu_mono = self._seen.disk_mono = now

    def bill(self, gpus: float) -> Bill:
        """Return what stands in them."""
        counted = self._group_cpu or self._ledger
        return Bill(counted.cpu, self._cpu_method, self._ram, self._disk, gpus, self._seen)

    @property
    def is_final(self) -> bool:
        """Tell whether nothing was consumed after the last look at the memory."""
        return self._ram.is_final

    @property
    def _is_in_group(self) -> bool:
        """Tell whether a control group counts all that must be looked at often."""
        return self._group_cpu is not None and self._has_group_memory

    def _take_group(self, now: float, cpu_s: tuple[float, float] | None, held_bytes: int | None) -> None:
        """Take what the control group counts."""
        if self._group_cpu is not None:
            self._seen.cpu_reason = GROUP_GONE if cpu_s is None else ""
            if cpu_s is not None:
                self._group_cpu.update(cpu_s)
                self._seen.cpu_mono = now
        self._take_group_memory(now, held_bytes)

    def _take_group_memory(self, now: float, held_bytes: int | None) -> None:
        self._has_group_memory = held_bytes is not None
        if held_bytes is not None:
            self._ram.sample(now, held_bytes, "cgroup_sampled")
            self._seen.ram_mono = now

    def _take_readings(
        self, now: float, readings: dict[Key, ProcessReading], *, is_full: bool, is_due: bool
    ) -> None:
        """Take a reading of the tree."""
        self._ledger.update(readings)
        if self._group_cpu is None:
            self._seen.cpu_mono = now
        if is_full:
            if has_reaped_between(self._full, readings):
                self._ram.miss(now - (self._seen.disk_mono or now))
            self._full = readings
            self._disk.update(readings)
            self._seen.disk_mono = now
            self._ram.see(readings)
            self._look_at_memory(now, readings, is_due=is_due)

    def _look_at_memory(self, now: float, readings: dict[Key, ProcessReading], *, is_due: bool) -> None:
        """Take what the tree of a full reading holds; shared pages are counted only when it is due."""
        self._seen.ram_mono = now
        if not self._has_group_memory and (is_due or len(readings) == 1):
            held = held_by_tree(readings)
            if held is not None:
                self._ram.sample(now, *held)

    def _read(self, *, is_full: bool = True) -> tuple[dict[Key, ProcessReading], str]:
        """Read the tree with all who were there, orphans among them."""
        read = self._tree.read(self._ledger.known, is_full=is_full)
        if self._tree.others:
            self._ledger.forget(self._tree.others)
        return read

    def _read_settled(self, *, is_full: bool) -> tuple[dict[Key, ProcessReading], str]:
        """Read the tree, and once more where counters are lacking of a process that ended.

        It may have ended after its parent was read and before it was its own turn: then the parent has its
        counters now. What is lacking of one that was gone before a whole reading, nobody in the tree has.
        """
        known = frozenset(self._ledger.known)
        readings, reason = self._read(is_full=is_full)
        for _ in range(READINGS_MAX - 1):
            is_lacking = self._ledger.lacks(readings) or (is_full and self._disk.lacks(readings))
            if not is_lacking or reason:
                break
            gone = known - readings.keys()
            readings, reason = self._read(is_full=is_full)
            if known - readings.keys() == gone:
                break
        return readings, reason
