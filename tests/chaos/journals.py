"""The agents' journals, read from outside while they are written; nothing is changed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.chaos.http1 import Kind
from worker.api.ids import requeue_run_id
from worker.reporting.records import BaseRecord, Entry, EntryRecord, Gap, read_records
from worker.reporting.segments import Segment, apply, merge

__all__ = ["Journal", "Written", "token_in"]

TICK_NS: Final = 50_000_000  # a file whose time is that near may have been written again since
MTIME_NS: Final = 10_000_000  # how coarse the times of files are
LOOKS_MAX: Final = 20


class Written(NamedTuple):
    """Something that an agent wrote down of a run for the first time."""

    agent: str
    run_id: str
    job_id: str | None
    is_outcome: bool  # else the intent


class Journal:
    """The journal of one agent, through all its lives."""

    def __init__(self, agent: str, folder: Path) -> None:
        """Stand before a journal; it need not be there yet."""
        self._agent = agent
        self._folder = folder
        self._state: dict[str, int] = {}
        self._told: set[tuple[str, bool]] = set()
        self.tokens: set[str] = set()  # of results that were written down, ever
        self.requeues: set[str] = set()  # ids of the placeholders that may follow outcomes

    def read(self, *, is_sure: bool = False) -> list[Written]:
        """Return what is new; `is_sure` looks even where nothing seems to have changed."""
        new: list[Written] = []
        for path in self._segments():
            try:
                at_ns = path.stat().st_mtime_ns
                is_old = self._state.get(path.name) == at_ns and time.time_ns() - at_ns > TICK_NS
                if is_old and not is_sure:
                    continue
                content = path.read_bytes()
            except FileNotFoundError:  # replaced by a newer one
                continue
            self._state[path.name] = at_ns
            new += self._new_in(content)
        return new

    def has(self, run_id: str, *, is_outcome: bool) -> bool:
        """Tell whether an intent or an outcome was written down."""
        return (run_id, is_outcome) in self._told

    def holds(self, kind: Kind, run_id: str) -> bool:
        """Tell whether what a request says was written down: the intent of a claim, or an outcome."""
        if kind is Kind.REQUEUE:
            return run_id in self.requeues
        return self.has(run_id, is_outcome=kind is Kind.END)

    def is_untouched_since(self, at_ns: int) -> bool:
        """Tell, for next to nothing, whether surely nothing was written since a monotonic moment."""
        wall_ns = at_ns + time.time_ns() - time.monotonic_ns()
        with contextlib.suppress(FileNotFoundError):
            return all(path.stat().st_mtime_ns < wall_ns - MTIME_NS for path in self._segments())
        return False

    def open_entries(self) -> dict[str, Entry]:
        """Return what is open now."""
        for _ in range(LOOKS_MAX):
            names = [path.name for path in self._segments()]
            try:
                segments = [replay(path) for path in self._segments()]
            except FileNotFoundError:
                continue
            if names == [path.name for path in self._segments()]:
                return merge(segments)
        raise AssertionError(f"{self._folder} changes faster than it can be read")

    def _segments(self) -> list[Path]:
        return sorted(self._folder.glob("*.seg"))

    def _new_in(self, content: bytes) -> Iterator[Written]:
        for record in read_records(content):
            if not isinstance(record, EntryRecord):
                continue
            entry = record.entry
            if (token := token_in(entry.terminal or entry.ended)) is not None:
                self.tokens.add(token)
            if entry.has_outcome and entry.requeue:
                self.requeues.add(requeue_run_id(entry.run_id))
            key = (entry.run_id, entry.has_outcome)
            if key not in self._told:
                self._told.add(key)
                yield Written(self._agent, entry.run_id, entry.job_id, entry.has_outcome)


def replay(path: Path) -> Segment:
    """Read one segment without a word about its end, which may just be written."""
    segment = Segment(path.name)
    for record in read_records(path.read_bytes()):
        if isinstance(record, BaseRecord):
            segment.has_base = True
        elif not isinstance(record, Gap):
            apply(segment.entries, record)
    return segment


def token_in(report: dict[str, Any] | None) -> str | None:
    """Return the token in the results of a report."""
    results = (report or {}).get("results")
    token = results.get("token") if isinstance(results, dict) else None
    return token if isinstance(token, str) else None
