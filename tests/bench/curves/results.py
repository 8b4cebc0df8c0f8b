"""Over the size of a result: from the handler's return to the database, by way of the journal."""

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
MAX_BODY: Final = {"MILLHAND_SERVER_MAX_BODY": "16MiB"}  # 8 by default
TYPE: Final = "bench-result"
CPU: Final = "CPU of a task in ms, by bytes of its result"


def over_results(folder: Path, points: Sequence[int], extent: Extent) -> list[Figure]:
    """Let one agent do tasks that return so much, on one server."""
    figures: list[Figure] = []
    with running_server(folder, variables=MAX_BODY) as (server, caller):
        for size in points:
            tasks = max(LEAST, min(MOST[extent], BYTES // size))
            work = work_off(
                server,
                caller,
                folder / f"agent-{size}",
                slots=SLOTS,
                tasks=tasks,
                type_=TYPE,
                parameters={"size_bytes": size},
            )
            lines = (
                ("tasks a second", work.tasks_per_s, "tasks/s", None),
                ("CPU of agent and children", work.agent_ms, "ms/task", "agent and children"),
                ("CPU of the server", work.server_ms, "ms/task", "server"),
            )
            figures += [
                Figure(
                    name=f"results of {size:,} bytes: {what}",
                    value=value,
                    unit=unit,
                    note=f"{work.count} tasks",
                    place=Place(CPU, line, size) if line else None,
                )
                for what, value, unit, line in lines
            ]
    return figures
