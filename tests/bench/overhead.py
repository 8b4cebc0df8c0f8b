"""What the agent adds to a run of one second that reports ten times."""

from __future__ import annotations

import datetime as dt
import statistics
from pathlib import Path
from typing import Any, Final

from tests.bench.caller import Caller
from tests.bench.figure import Figure
from tests.bench.pickup import wait_stopped
from tests.bench.world import Server, running_agent

__all__ = ["measure_overhead"]

TYPE: Final = "bench-second"
WARM_UP: Final = 1  # starts the child


def measure_overhead(server: Server, caller: Caller, folder: Path, *, runs: int) -> list[Figure]:
    """Let one agent do such runs one after another; what a run lasts beyond its handler is ours."""
    job = caller.create_job(TYPE)
    with running_agent(server.url, folder / "overhead-agent", 1) as agent:
        seen = [wait_stopped(caller.create_task(job, TYPE), caller, agent) for _ in range(WARM_UP + runs)]
    added = [added_ms(run) for run in seen[WARM_UP:]]
    note = f"median of {runs}: startedAt → stoppedAt, less the handler's own time"
    return [
        Figure(
            name="overhead of a run of 1 s with ten reports",
            value=statistics.median(added),
            unit="ms",
            note=note,
        )
    ]


def added_ms(run: dict[str, Any]) -> float:
    """Return what a run lasted beyond its handler."""
    started_at, stopped_at = (dt.datetime.fromisoformat(run[name]) for name in ("startedAt", "stoppedAt"))
    return (stopped_at - started_at).total_seconds() * 1e3 - float(run["results"]["tookS"]) * 1e3
