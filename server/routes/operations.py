"""All operations of the Jobs API, in the order in which paths are matched."""

from __future__ import annotations

from typing import Final

from server.http.operation import Operation
from server.routes import agents, batch, jobs, offers, reports, runs, tasks

__all__ = ["OPERATIONS"]

# Jobs come last: /api/jobs/{jobId} would match /api/jobs/tasks.
OPERATIONS: Final[tuple[Operation, ...]] = (
    *tasks.OPERATIONS,
    *runs.OPERATIONS,
    *reports.OPERATIONS,
    *jobs.OPERATIONS,
    *agents.OPERATIONS,
    *batch.OPERATIONS,
    *offers.OPERATIONS,
)
