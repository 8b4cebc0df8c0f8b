"""What the kernel tells of a process that is measured again and again: its files stay open."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from worker.minder.kept_file import KeptFile
from worker.usage.process import (
    UNKNOWN,
    Memory,
    ProcessReading,
    child_pids,
    fields_of,
    memory_of,
    read_list,
    reading_of,
)

__all__ = ["ProcessFiles"]

NOBODY: Final = frozenset[int]()
SET_BACK: Final = b"5"  # VmHWM to the present RSS; see proc_pid_clear_refs(5)


class OtherThread(NamedTuple):
    """The one thread that a process has beside its first."""

    name: KeptFile
    children: KeptFile


class ProcessFiles:
    """The files of one process, which they name for good: whoever has its pid later is not read.

    `close` at last.
    """

    def __init__(self, pid: int) -> None:
        """Take the process; nothing is opened yet."""
        self.pid = pid
        self._stat = KeptFile(f"/proc/{pid}/stat")
        self._status = KeptFile(f"/proc/{pid}/status")
        self._io = KeptFile(f"/proc/{pid}/io")
        self._peak = KeptFile(f"/proc/{pid}/clear_refs", os.O_WRONLY)
        self._children = KeptFile(f"/proc/{pid}/task/{pid}/children")
        self._other: OtherThread | None = None
        self._pages: tuple[bytes, bytes, bytes] | None = None  # when its memory was read last
        self._memory = UNKNOWN
        self.listed: frozenset[int] | None = None  # its children by the last look; None: nobody can tell

    def read(self, *, is_full: bool) -> ProcessReading | None:
        """Return what it has consumed; None where it is gone."""
        if not (stat := self._stat.read()):
            return None
        fields = fields_of(stat)
        if not is_full:
            return reading_of(self.pid, fields)
        return reading_of(self.pid, fields, self._memory_of(fields), self._io.read())

    def _memory_of(self, fields: list[bytes]) -> Memory:
        """Return its memory, and the mark of the most that it had.

        A process gets no page without a fault, and what it gives back it has no more: with as many faults and
        pages as when `status` was read last, that says the same. It takes as long as all the others together.
        """
        pages = fields[7], fields[9], fields[21]  # minor faults and major ones, resident pages
        if pages != self._pages:
            self._memory = memory_of(self._status.read())
            self._pages = None if self._memory is UNKNOWN else pages
        return self._memory

    def child_pids(self, threads: int) -> list[int]:
        """Return its children, of all its threads; mostly there are none."""
        first = self._children.read()
        if threads == 1 or (threads == 2 and self._is_other_childless()):
            if not first and first is not None:
                self.listed = NOBODY
                return []
            lists = [first]
        else:
            lists = [first, *self._other_lists()]
        texts = [text for text in lists if text is not None]
        self.listed = frozenset(map(int, b" ".join(texts).split())) if len(texts) == len(lists) else None
        return [] if self.listed == NOBODY else child_pids(self.pid, threads)

    def _is_other_childless(self) -> bool:
        """Tell whether the one thread beside the first, of which children of ours have one, has no children.

        The list of a thread that has ended is empty, but its name cannot be read: then it is another one.
        """
        if self._other is None or self._other.children.read() != b"":
            return False
        if self._other.name.read() is None:
            self._forget_other()
        return self._other is not None

    def _other_lists(self) -> list[bytes | None]:
        """Return the children of its other threads; those come and go. The files of the only one are kept."""
        tasks = f"/proc/{self.pid}/task"
        try:
            tids = [tid for tid in os.listdir(tasks) if tid != str(self.pid)]  # noqa: PTH208 - names only
        except OSError:
            return [None]
        self._forget_other()
        if len(tids) == 1:
            folder = f"{tasks}/{tids[0]}"
            self._other = OtherThread(KeptFile(f"{folder}/comm"), KeptFile(f"{folder}/children"))
        return [read_list(f"{tasks}/{tid}/children") for tid in tids]

    def _forget_other(self) -> None:
        if self._other is not None:
            for file in self._other:
                file.close()
            self._other = None

    def reset_peak(self) -> str:
        """Set its highest RSS back to the present one; return "" or why that was not possible."""
        hwm, anonymous, files, shared = self._memory
        if hwm != (anonymous or 0) + (files or 0) + (shared or 0):
            self._pages = None  # the mark moves, and no page tells
        try:
            self._peak.write(SET_BACK)
        except OSError as exc:
            return f"the peak of process {self.pid} could not be reset: {exc.strerror}"
        return ""

    def close(self) -> None:
        """Read it no more."""
        for file in (self._stat, self._status, self._io, self._peak, self._children):
            file.close()
        self._forget_other()
