"""The processes of one run, read again and again."""

from __future__ import annotations

from collections.abc import Collection

from worker.usage.process import Key, ProcessReading
from worker.usage.readings import Left, keys_below, root_of
from worker.usage.source import Source, source_of_this_system

__all__ = ["Tree"]


class Tree:
    """A run's process and everything below it, but for what somebody else tells of."""

    __slots__ = ("left", "left_out", "others", "pid", "source")

    def __init__(self, pid: int, source: Source | None) -> None:
        """Take the process, and where processes are read; by default what this system has."""
        self.pid = pid
        self.source = source or source_of_this_system()
        self.left: Left | None = None  # what the run leaves in its process, by the last reading
        self.left_out: int | None = None  # counted no more, with what is below it …
        self.others: Collection[Key] = ()  # … as far as it was in the last reading

    def read(
        self, known: tuple[Key, ...] = (), *, is_full: bool = True
    ) -> tuple[dict[Key, ProcessReading], str]:
        """Read it, and those of `known` that live on elsewhere; without `is_full` their CPU alone.

        Returns what there is with "", or with the reason why the process itself is missing.
        """
        try:
            readings = self.source.read_tree(self.pid, known, is_full)
        except (OSError, ValueError, IndexError) as exc:
            return {}, f"process {self.pid} could not be read: {exc}"
        root = root_of(readings, self.pid)
        self.left = None if root is None else Left(self.source.listed(), root.anonymous_bytes)
        if self.left_out is not None and (others := keys_below(self.left_out, readings)):
            self.others = others
            readings = {key: reading for key, reading in readings.items() if key not in others}
            root = root_of(readings, self.pid)
        return readings, "" if root is not None else f"process {self.pid} is gone"
