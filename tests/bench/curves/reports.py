"""Over reports of a run: a handler tells more often than the server is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.bench.counts import done
from tests.bench.curves.axes import Extent
from tests.bench.figure import Figure, Place
from tests.bench.pickup import wait_stopped
from tests.bench.world import running_agent, running_server

__all__ = ["over_reports"]

SECONDS: Final = {"short": 2.0, "usual": 6.0, "long": 20.0}
TYPE: Final = "bench-reports"
PANEL: Final = "requests a second for one run, by its reports a second"


def over_reports(folder: Path, points: Sequence[int], extent: Extent) -> list[Figure]:
    """Let one run after another tell its progress so often; count what arrives, the last report included."""
    figures = []
    seconds = SECONDS[extent]
    with running_server(folder) as (server, caller), running_agent(server.url, folder / "agent", 1) as agent:
        job = caller.create_job(TYPE)
        wait_stopped(caller.create_task(job, TYPE, {"per_s": 1, "seconds": 0.1}), caller, agent)
        for per_s in points:
            before = done(server, "update_run")
            run = wait_stopped(
                caller.create_task(job, TYPE, {"per_s": per_s, "seconds": seconds}), caller, agent
            )
            requests = done(server, "update_run") - before
            figures.append(
                Figure(
                    name=f"{per_s} reports a second: requests",
                    value=requests / seconds,
                    unit="1/s",
                    note=f"{requests} for {run['results']['reports']} reports in {seconds:.0f} s",
                    place=Place(PANEL, "requests", per_s),
                )
            )
    return figures
