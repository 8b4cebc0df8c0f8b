"""Measure what one run consumes, from its start in a process to its end there."""

from __future__ import annotations

from worker.clock import Clock
from worker.usage.bill import Bill
from worker.usage.books import Books
from worker.usage.look import Look
from worker.usage.readings import Left, root_of
from worker.usage.run_group import RunGroup
from worker.usage.rusage import Rusage
from worker.usage.short_run import ShortRun
from worker.usage.source import Source
from worker.usage.tree import Tree
from worker.usage.usage import Usage

__all__ = ["Meter"]


class Meter:
    """Measure one run in process `pid` and everything below it.

    A meter is for one run; a warm child gets a new one for each. It has no threads, and no files but those of
    its source and its group, so it may be dropped at any time. CPU and memory come from the run's control
    group where it has one, else from its tree, at about 0.02 ms a process. What costs more is seen seldom.

    Most runs are over before a sample is due, in a process that has none below it: of those two looks are the
    whole bill. Books are opened with the first sample, or where there is more than one process.
    """

    __slots__ = (
        "_before",
        "_books",
        "_clock",
        "_cpu_method",
        "_first",
        "_gpus",
        "_group",
        "_last_reason",
        "_mark_reason",
        "_missing",
        "_short",
        "_started_mono",
        "_tree",
    )

    def __init__(
        self,
        pid: int,
        clock: Clock,
        *,
        gpus: float = 0,
        source: Source | None = None,
        group: RunGroup | None = None,
        before: Look | None = None,
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
        self._tree = Tree(pid, source)
        self._clock = clock
        self._gpus = gpus
        self._group = group or RunGroup()
        self._before = before
        self._started_mono: float | None = None
        self._missing = "the meter was not started"
        self._first: Look | None = None  # what the run begins with
        self._cpu_method = ""  # where no group counts it
        self._mark_reason = ""  # why the peak of RAM could not be set back
        self._books: Books | None = None
        self._short: ShortRun | None = None  # whole, unless something comes after it
        self._last_reason: str | None = None  # "": the last look was taken

    def mono(self) -> float:
        """Return the clock that durations go by."""
        return self._clock.mono()

    def leave_out(self, pid: int) -> None:
        """Count a process and what is below it no more, should they be seen: somebody else tells of them."""
        if pid != self._tree.pid:
            self._tree.left_out = pid

    def start(self) -> None:
        """Take what was consumed before as the baseline, and set the peak of RAM back."""
        now = self._started_mono = self._clock.mono()
        cpu_s = self._group.cpu_s()
        before, reason = self._before, ""
        is_known = before is not None and cpu_s is not None and before.holds(cpu_s[0], now)
        if before is not None and is_known:
            readings, held_bytes = before.readings, before.held_bytes
        else:
            readings, reason = self._tree.read()
            held_bytes = self._group.memory_bytes()
        root = root_of(readings, self._tree.pid)
        if root is None:
            self._missing = reason
            return
        if not (is_known and root.is_at_peak):
            self._mark_reason = self._tree.source.reset_peak(root.key.pid)
        self._cpu_method = self._tree.source.cpu_method_of(root)
        self._first = Look(now, cpu_s, held_bytes, readings)
        if len(readings) > 1:
            self._open(self._first)

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
        if (short := self._look_at_short()) is not None:
            self._short, self._last_reason = short, ""
        else:
            self._last_reason = self._update(is_last=True)
        return None if self._last_reason else self._tree.left

    def baseline(self) -> Look | None:
        """Return what the next run of the process may begin with, after a `look_last`; None: with nothing."""
        short = self._short
        if short is None or short.last.cpu_s is None or short.last.held_bytes is None:
            return None
        return None if self._tree.left_out is not None else short.last

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
        if self._first is None:
            return self._usage(complete=False, reason=self._missing)
        if rusage is None:
            if self._last_reason is None:
                self.look_last()
            if (short := self._short) is not None:
                return short.usage(self._clock.mono(), self._gpus)
            books, reason = self._open(self._first), self._last_reason or ""
            return self._usage(complete=not reason and books.is_of_now, reason=reason)
        books = self._open(self._first)
        books.settle(self._clock.mono(), rusage, group_cpu_s, is_sampled=self._last_reason == "")
        return self._usage(complete=books.is_final, reason="")

    def _look_at_short(self) -> ShortRun | None:
        """Look at a run without a sample, in a process that has nobody below it; None where it is another."""
        first = self._first
        if first is None or self._books is not None:
            return None
        now = self._clock.mono()
        cpu_s, held_bytes = self._group.cpu_s(), self._group.memory_bytes()
        readings, _ = self._tree.read(tuple(first.readings))
        return ShortRun.between(
            first, Look(now, cpu_s, held_bytes, readings), self._cpu_method, self._mark_reason
        )

    def _update(self, *, is_last: bool) -> str:
        """Take a sample; return "" or why there is none of the processes."""
        if self._first is None:
            return self._missing
        return self._open(self._first).update(self._clock.mono(), is_last=is_last)

    def _open(self, first: Look) -> Books:
        """Open the books with the first look, where they are not; what was a short run goes on in them."""
        if self._books is None:
            self._books = Books(self._tree, self._group, first, self._cpu_method, self._mark_reason)
            if self._short is not None:
                self._books.take(self._short.last)
                self._short = None
        return self._books

    def _usage(self, *, complete: bool, reason: str) -> Usage:
        bill = (
            Bill.empty(self._started_mono, self._gpus)
            if self._books is None
            else self._books.bill(self._gpus)
        )
        return bill.usage(self._clock.mono(), complete=complete, reason=reason)
