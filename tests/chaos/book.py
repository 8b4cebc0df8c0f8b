"""What the children wrote down of their executions, and whether two of them were at one task."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

__all__ = ["Book", "Execution", "Line", "doubled", "executions_of"]


LAST: Final = frozenset({"retry", "return"})


class Line(Struct, frozen=True):
    """A moment at which a child executed a task."""

    at_ns: int  # on the machine's monotonic clock
    what: str  # "begin", "beat", "retry" (it fails now) or "return"
    task_id: str
    run_id: str
    agent: str
    pid: int
    attempt: int
    token: str  # of the result; "-" on other lines


class Execution(Struct):
    """One child at one run, from its first line to its last: a child that is killed has no last word."""

    task_id: str
    run_id: str
    agent: str
    pid: int
    begin_ns: int
    last_ns: int
    token: str | None = None  # what it returned
    is_failed: bool = False  # it said so itself


class Book:
    """Read the record while children write it."""

    def __init__(self, folder: Path) -> None:
        """Stand before the record in a folder; it need not be there yet."""
        self._path = folder / "executions.log"
        self._read_bytes = 0
        self._untold = 0
        self._over: set[str] = set()
        self.lines: list[Line] = []

    def read(self) -> list[Line]:
        """Return the lines that are new since this was asked last."""
        self._pull()
        told, self._untold = self._untold, len(self.lines)
        return self.lines[told:]

    def is_over(self, run_id: str) -> bool:
        """Tell whether the handler of a run has written its last line by now."""
        self._pull()
        return run_id in self._over

    def _pull(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            whole = file.read().rpartition(b"\n")[0]
        if not whole:
            return
        self._read_bytes += len(whole) + 1
        new = [line_of(line) for line in whole.decode().split("\n")]
        self._over |= {line.run_id for line in new if line.what in LAST}
        self.lines += new


def line_of(text: str) -> Line:
    """Read one line."""
    at_ns, what, task_id, run_id, agent, pid, attempt, token = text.split(" ")
    return Line(int(at_ns), what, task_id, run_id, agent, int(pid), int(attempt), token)


def executions_of(lines: Iterable[Line], tasks: Collection[str]) -> list[Execution]:
    """Return the executions of some tasks, by their beginnings."""
    found: dict[tuple[str, int, int], Execution] = {}
    begun: dict[tuple[str, int], int] = {}  # one child may begin a run twice: it must not
    for line in sorted(lines, key=lambda line: line.at_ns):
        if line.task_id not in tasks:
            continue
        who = (line.run_id, line.pid)
        if line.what == "begin":
            begun[who] = begun.get(who, 0) + 1
        key = (*who, begun.get(who, 0))
        one = found.setdefault(
            key, Execution(line.task_id, line.run_id, line.agent, line.pid, line.at_ns, line.at_ns)
        )
        one.last_ns = line.at_ns
        if line.what == "return":
            one.token = line.token
        one.is_failed = one.is_failed or line.what == "retry"
    return sorted(found.values(), key=lambda one: one.begin_ns)


def doubled(executions: Iterable[Execution]) -> list[str]:
    """Say which executions of one task overlap, and which run was executed twice."""
    found, last, runs = [], dict[str, Execution](), set[str]()
    for one in sorted(executions, key=lambda one: one.begin_ns):
        before = last.get(one.task_id)
        if before is not None and one.begin_ns <= before.last_ns:
            ms = (before.last_ns - one.begin_ns) / 1e6
            found.append(
                f"task {one.task_id}: run {one.run_id} ({one.agent}, pid {one.pid}) began {ms:.1f} ms before"
                f" the last line of run {before.run_id} ({before.agent}, pid {before.pid})"
            )
        if one.run_id in runs:
            found.append(f"task {one.task_id}: run {one.run_id} was executed twice")
        runs.add(one.run_id)
        if before is None or one.last_ns > before.last_ns:
            last[one.task_id] = one
    return found
