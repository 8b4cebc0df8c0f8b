"""What an earlier process left to do."""

from __future__ import annotations

import sqlite3

from server.store.rules import CLOSED
from server.store.sql.closing import StopPending

__all__ = ["half_closed"]


def half_closed(db: sqlite3.Connection) -> list[StopPending]:
    """Return the closed jobs that still have pending tasks."""
    marks = ", ".join("?" * len(CLOSED))
    rows = db.execute(
        f"SELECT org_id, id FROM jobs j WHERE scheduler_state IN ({marks}) AND EXISTS ("  # noqa: S608
        " SELECT 1 FROM tasks t WHERE t.org_id = j.org_id AND t.job_id = j.id AND t.run_status = 'pending')",
        tuple(CLOSED),
    )
    return [StopPending(*row) for row in rows]
