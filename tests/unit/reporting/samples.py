"""Entries and journals for tests."""

from __future__ import annotations

from typing import Any

from tests.unit.reporting.memory import MemoryDisk, MemoryIO
from worker.reporting.journal import Journal, Limits
from worker.reporting.records import Entry

__all__ = ["REPORT", "SMALL", "entry", "reopened"]

REPORT = {"stoppedAt": "2026-01-02T03:04:06.000Z", "resultCode": "Success", "results": {"value": 42}}
SMALL = Limits(reserve_bytes=4096, intent_bytes=2048, segment_bytes=64 << 10)


def entry(run_id: str = "run-1", **fields: Any) -> Entry:
    """Return an entry as the agent makes it before a claim."""
    return Entry(
        run_id=run_id,
        task_id=f"task of {run_id}",
        job_id="job-1",
        pod_id="pod/agent",
        started_at="2026-01-02T03:04:05.678Z",
        intent={"taskId": f"task of {run_id}", "machine": {"host": "h"}},
        **fields,
    )


async def reopened(disk: MemoryDisk, limits: Limits = SMALL) -> Journal:
    """Return the journal of the next agent on this disk."""
    return await Journal.open(MemoryIO(disk), limits=limits)
