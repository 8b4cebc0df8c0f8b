"""Measure what one run consumes, from its start in a process to its end there."""

from __future__ import annotations

import time

from worker.clock import Clock
from worker.usage.baseline import Baseline
from worker.usage.bill import Bill, Seen
from worker.usage.disk import DiskLedger
from worker.usage.ledger import CpuLedger, GroupCpu
from worker.usage.pace import Pace
from worker.usage.process import Key, ProcessReading
from worker.usage.ram import Ram, held_by_tree
from worker.usage.readings import Left, keys_below, left_in, root_of, settled
from worker.usage.run_group import RunGroup
from worker.usage.rusage import Rusage
from worker.usage.source import Source, source_of_this_system
from worker.usage.usage import Usage

__all__ = ["Meter"]

SMALL_TREE = 3  # processes whose memory and disk are read with every sample
DETAILS_S = 10.0  # between two looks at the memory and the disk of larger ones, at least
TREE_SHARE = 0.0003  # of one core, for these looks …
GROUP_SHARE = 0.00002  # … and for those at the processes of a group, which tells most without
WALK_SHARE = 0.002  # … and for the CPU of a tree: one of hundreds of processes is seen less often
READINGS_MAX = 3  # of one look: where processes end during each, the third is taken as it is
GROUP_GONE = "the control group could not be read any more"


class Meter:
    """Measure one run in process `pid` and everything below it.

    A meter is for one run; a warm child gets a new one for each. It has no threads, and no files but those of
    its source and its group, so it may be dropped at any time. CPU and memory come from the run's control
    group where it has one, else from its tree, at about 0.02 ms a process. What costs more is seen seldom.
    """

    def __init__(
        self,
        pid: int,
        clock: Clock,
        *,
        gpus: float = 0,
        source: Source | None = None,
        group: RunGroup | None = None,
        before: Baseline | None = None,
    ) -> None:
        """Prepare to measure.

        Args:
            pid: the run's process.
            clock: for durations.
            gpus: how many GPUs are given to the run, parts of one as a part.
            source: where processes are read; by default what this system has.
            group: the control group that the process was started in.
            before: what the meter of the run before it in the process left.
        """
        self._pid = pid
        self._clock = clock
        self._gpus = gpus
        self._source = source
        self._group = group or RunGroup()
        self._before = before
        self._group_used_s = 0.0  # when it was looked at last
        self._group_held_bytes = 0
        self._group_cpu: GroupCpu | None = None
        self._has_group_memory = False
        self._ledger: CpuLedger | None = None
        self._disk: DiskLedger | None = None
        self._ram = Ram()
        self._pace = Pace(TREE_SHARE, DETAILS_S)
        self._walks = Pace(WALK_SHARE, 0.0)
        self._seen = Seen()
        self._cpu_method = ""
        self._missing = "the meter was not started"
        self._left_out: int | None = None
        self._left: Left | None = None  # of the last reading
        self._last_reason: str | None = None  # "": the last look was taken

    def mono(self) -> float:
        """Return the clock that durations go by."""
        return self._clock.mono()

    def leave_out(self, pid: int) -> None:
        """Count a process and what is below it no more, should they be seen: somebody else tells of them."""
        if pid != self._pid:
            self._left_out = pid

    def start(self) -> None:
        """Take what was consumed before as the baseline, and set the peak of RAM back."""
        self._source = self._source or source_of_this_system()
        now = self._seen.started_mono = self._clock.mono()
        first = self._group.cpu_s()
        before = self._before if first and self._before and self._before.holds(first[0], now) else None
        readings, reason = self._read() if before is None else (before.readings, "")
        root = root_of(readings, self._pid)
        if root is None:
            self._missing = reason
            return
        self._ledger = CpuLedger(readings)
        self._disk = DiskLedger(root, readings)
        is_at_peak = before is not None and root.is_at_peak
        self._ram.start(root, readings, "" if is_at_peak else self._source.reset_peak(root.key.pid))
        self._cpu_method = self._cpu_method_of(root)
        if first is not None:
            self._group_cpu, self._cpu_method = GroupCpu(first), "cgroup"
        self._take_group_memory(now, self._group.memory_bytes() if before is None else before.held_bytes)
        if self._is_in_group:
            self._pace = Pace(GROUP_SHARE, DETAILS_S)
        self._look_at_memory(now, readings, is_due=True)
        self._seen.cpu_mono = self._seen.disk_mono = now

    def sample(self, *, is_last: bool = False) -> Usage:
        """Return what was consumed so far. Never raises; what cannot be read is None with a reason.

        `is_last` looks at everything, whatever it costs: the process is ended next.
        """
        reason = self._update(is_last=is_last)
        return self._usage(complete=False, reason=reason)

    def look_last(self) -> Left | None:
        """Look at everything, whatever it costs, at the end of the run: the process may be ended next.

        Returns what the run leaves there; None where its process cannot be read any more.
        """
        self._last_reason = self._update(is_last=True)
        return None if self._last_reason else self._left

    def baseline(self) -> Baseline | None:
        """Return what the next run of the process may begin with, after a `look_last`; None: with nothing."""
        if self._ledger is None or not self._is_in_group or self._last_reason != "" or self._seen.cpu_reason:
            return None
        if self._left_out is not None or len(self._ledger.last) != 1:
            return None
        at_mono = self._seen.cpu_mono or 0.0
        return Baseline(self._ledger.last, self._group_used_s, self._group_held_bytes, at_mono)

    def finish(
        self, rusage: Rusage | None = None, *, group_cpu_s: tuple[float, float] | None = None
    ) -> Usage:
        """Return what the run consumed; call it once, at its end.

        Args:
            rusage: what wait4 said of the process, where it has ended; it covers its whole life and
                the children it waited for. None where the process lives on: then a `look_last` that
                was taken is what counts.
            group_cpu_s: what its control group had counted when nothing was left in it.

        The usage is `complete` where the last figures are those of the end: of wait4, or of a
        process that is still there. A process that was lost leaves its last sample, incomplete.
        """
        if self._ledger is None:
            return self._usage(complete=False, reason=self._missing)
        if rusage is None:
            reason = self._update(is_last=True) if self._last_reason is None else self._last_reason
            return self._usage(complete=not (reason or self._seen.cpu_reason), reason=reason)
        self._settle(self._ledger, rusage, group_cpu_s)
        return self._usage(complete=self._ram.is_final, reason="")

    def _update(self, *, is_last: bool) -> str:
        """Take a sample; return "" or why there is none of the processes."""
        if self._ledger is None:
            return self._missing
        now = self._clock.mono()
        self._look_at_group(now)
        is_due = is_last or self._pace.is_due(now)
        if not is_due and (self._is_in_group or not self._walks.is_due(now)):
            return ""
        is_full = is_due or len(self._ledger.known) <= SMALL_TREE
        began_s = 0.0 if is_last else time.thread_time()
        readings, reason = self._read_settled(self._ledger, is_full=is_full)
        if root_of(readings, self._pid) is None:
            return reason
        self._ledger.update(readings)
        if self._group_cpu is None:
            self._seen.cpu_mono = now
        if is_full and self._disk is not None:
            self._disk.update(readings)
            self._seen.disk_mono = now
            self._ram.see(readings)
            self._look_at_memory(now, readings, is_due=is_due)
        if is_last:
            return ""
        cost_s = time.thread_time() - began_s
        if not is_due:
            self._walks.looked(now, cost_s)
        elif self._is_in_group or len(readings) > 1:
            self._pace.looked(now, cost_s)
        return ""

    @property
    def _is_in_group(self) -> bool:
        """Tell whether a control group counts all that must be looked at often."""
        return self._group_cpu is not None and self._has_group_memory

    def _look_at_group(self, now: float) -> None:
        """Read what the control group counts."""
        if self._group_cpu is not None:
            cpu_s = self._group.cpu_s()
            self._seen.cpu_reason = GROUP_GONE if cpu_s is None else ""
            if cpu_s is not None:
                self._group_cpu.update(cpu_s)
                self._group_used_s = cpu_s[0]
                self._seen.cpu_mono = now
        self._take_group_memory(now, self._group.memory_bytes())

    def _take_group_memory(self, now: float, held_bytes: int | None) -> None:
        self._has_group_memory = held_bytes is not None
        if held_bytes is not None:
            self._group_held_bytes = held_bytes
            self._ram.sample(now, held_bytes, "cgroup_sampled")
            self._seen.ram_mono = now

    def _look_at_memory(self, now: float, readings: dict[Key, ProcessReading], *, is_due: bool) -> None:
        """Take what the tree of a full reading holds; shared pages are counted only when it is due."""
        self._seen.ram_mono = now
        if not self._has_group_memory and (is_due or len(readings) == 1):
            held = held_by_tree(readings)
            if held is not None:
                self._ram.sample(now, *held)

    def _settle(self, ledger: CpuLedger, rusage: Rusage, group_cpu_s: tuple[float, float] | None) -> None:
        """Close the books with what wait4 and the group say, beside the sums of orphans that still live.

        A last look right before the process was ended saw the peak of RAM.
        """
        readings, _ = self._read(ledger.known)
        root = root_of(ledger.last, self._pid)
        if root is None:  # cannot be: a ledger begins with a root and keeps it
            return
        readings.pop(root.key, None)
        if self._disk is not None:
            self._disk.settle(root.key, rusage, readings)
        ledger.update(readings | {root.key: settled(root, rusage)})
        if self._group_cpu is not None and group_cpu_s is not None:
            self._group_cpu.update(group_cpu_s)
        else:
            self._group_cpu, self._cpu_method = None, "wait4"
        self._seen.cpu_reason = ""
        self._ram.end(rusage.ru_maxrss * 1024, root.parent_pid, is_sampled=self._last_reason == "")
        self._seen.cpu_mono = self._seen.disk_mono = self._clock.mono()

    def _read(
        self, known: tuple[Key, ...] = (), *, is_full: bool = True
    ) -> tuple[dict[Key, ProcessReading], str]:
        """Read the tree; return it with "", or what there is with the reason why its root is missing."""
        if self._source is None:
            return {}, self._missing
        try:
            readings = self._source.read_tree(self._pid, known, is_full)
        except (OSError, ValueError, IndexError) as exc:
            return {}, f"process {self._pid} could not be read: {exc}"
        self._left = left_in(readings, self._pid, self._source.listed())
        if self._left_out is not None and (left_out := keys_below(self._left_out, readings)):
            readings = {key: reading for key, reading in readings.items() if key not in left_out}
            if self._ledger is not None:
                self._ledger.forget(left_out)
        return readings, "" if root_of(readings, self._pid) else f"process {self._pid} is gone"

    def _read_settled(self, ledger: CpuLedger, *, is_full: bool) -> tuple[dict[Key, ProcessReading], str]:
        """Read the tree, and once more where counters are lacking of a process that ended.

        It may have ended after its parent was read and before it was its own turn: then the parent has its
        counters now. What is lacking of one that was gone before a whole reading, nobody in the tree has.
        """
        known = frozenset(ledger.known)
        readings, reason = self._read(ledger.known, is_full=is_full)
        for _ in range(READINGS_MAX - 1):
            is_lacking = ledger.lacks(readings) or (is_full and self._disk_lacks(readings))
            if not is_lacking or root_of(readings, self._pid) is None:
                break
            gone = known - readings.keys()
            readings, reason = self._read(ledger.known, is_full=is_full)
            if known - readings.keys() == gone:
                break
        return readings, reason

    def _disk_lacks(self, readings: dict[Key, ProcessReading]) -> bool:
        return self._disk is not None and self._disk.lacks(readings)

    def _cpu_method_of(self, root: ProcessReading) -> str:
        if self._source is None:
            return ""
        return self._source.cpu_method if root.is_exact else self._source.coarse_cpu_method

    def _usage(self, *, complete: bool, reason: str) -> Usage:
        counted = self._group_cpu or self._ledger
        bill = Bill(
            cpu=None if counted is None else counted.cpu,
            cpu_method=self._cpu_method,
            ram=self._ram,
            disk=self._disk,
            gpus=self._gpus,
            seen=self._seen,
        )
        return bill.usage(self._clock.mono(), complete=complete, reason=reason)
