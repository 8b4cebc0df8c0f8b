"""Over the size of a result: from the handler's return to the database, or of its file to the store of files.

A result is a value of 256 KiB at the most; what is larger a handler hands over as a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.bench.curves.axes import Extent
from tests.bench.figure import Figure, Place
from tests.bench.throughput import work_off
from tests.bench.world import running_server

__all__ = ["over_results"]

SLOTS: Final = 2
MOST: Final = {"short": 60, "usual": 200, "long": 200}  # tasks
LEAST: Final = 12
BYTES: Final = 60_000_000  # of all results of one size
VALUE_MOST: Final = 256 * 1024 - 100  # with the rest of what is returned
TYPE: Final = "bench-result"
CPU: Final = "CPU of a task in ms, all processes, by bytes of its result"


def over_results(folder: Path, points: Sequence[int], extent: Extent) -> list[Figure]:
    """Let one agent do tasks that return so much, and such that hand it over as a file, on one server."""
    figures: list[Figure] = []
    with running_server(folder) as (server, caller):
        for size in points:
            tasks = max(LEAST, min(MOST[extent], BYTES // size))
            for is_file in (False, True) if size <= VALUE_MOST else (True,):
                form = "a file" if is_file else "a value"
                work = work_off(
                    server,
                    caller,
                    folder / f"agent-{size}-{is_file}",
                    slots=SLOTS,
                    tasks=tasks,
                    type_=TYPE,
                    parameters={"size_bytes": size, "is_file": is_file},
                )
                name, note = f"{form} of {size:,} bytes", f"{work.count} tasks"
                place = Place(CPU, form, size)
                cpu_ms = work.agent_ms + work.server_ms
                figures += [
                    Figure(name=f"{name}: tasks a second", value=work.tasks_per_s, unit="tasks/s", note=note),
                    Figure(name=f"{name}: CPU", value=cpu_ms, unit="ms/task", note=note, place=place),
                ]
    return figures
