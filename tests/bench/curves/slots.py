"""Over slots: tasks a second of one agent, and what each costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.bench.curves.axes import Extent
from tests.bench.figure import Figure, Place
from tests.bench.throughput import work_off
from tests.bench.world import running_server

__all__ = ["over_slots"]

RATE: Final = "tasks a second, by slots"
CPU: Final = "CPU of a task in ms, by slots"


def over_slots(folder: Path, points: Sequence[int], extent: Extent) -> list[Figure]:
    """Let one agent do noop tasks with each number of slots, on one server."""
    figures: list[Figure] = []
    tasks = 150 if extent == "short" else 700
    with running_server(folder) as (server, caller):
        for slots in points:
            work = work_off(server, caller, folder / f"agent-{slots}", slots=slots, tasks=tasks)
            note = f"{work.count} noop tasks"
            lines = (
                ("tasks a second", work.tasks_per_s, "tasks/s", RATE, "one agent"),
                ("CPU of agent and children", work.agent_ms, "ms/task", CPU, "agent and children"),
                ("CPU of the server", work.server_ms, "ms/task", CPU, "server"),
            )
            figures += [
                Figure(
                    name=f"curve, {slots} slots: {what}",
                    value=value,
                    unit=unit,
                    note=note,
                    place=Place(panel, line, slots),
                )
                for what, value, unit, panel, line in lines
            ]
    return figures
