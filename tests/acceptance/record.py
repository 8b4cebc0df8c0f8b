"""What the children wrote down of their executions."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

__all__ = ["Line", "executions", "overlaps"]


class Line(Struct, frozen=True):
    """The first or the last moment of one execution."""

    at_ns: int  # on the machine's monotonic clock
    what: str  # "begin" or "end"
    task_id: str
    run_id: str
    pid: int


def executions(folder: Path) -> list[Line]:
    """Read the record, in the order of time."""
    lines = [line.split() for line in (folder / "executions.log").read_text().splitlines()]
    read = [Line(int(at), what, task_id, run_id, int(pid)) for at, what, task_id, run_id, pid in lines]
    return sorted(read, key=lambda line: line.at_ns)


def overlaps(record: list[Line]) -> list[str]:
    """Return the tasks that were executed twice at once, or whose execution has no end."""
    executing: dict[str, str] = {}
    found: list[str] = []
    for line in record:
        if line.what == "begin":
            if line.task_id in executing:
                found.append(line.task_id)
            executing[line.task_id] = line.run_id
        elif executing.pop(line.task_id, None) != line.run_id:
            found.append(line.task_id)
    return found + list(executing)
