"""How many terminal reports a second one journal makes durable, and what they share of syncs."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final

from tests.bench.figure import Figure
from worker.reporting.disk import DiskIO
from worker.reporting.journal import Journal
from worker.reporting.records import Entry

__all__ = ["measure_journal"]

CALLERS: Final = (1, 8, 64)
REPORT: Final = {"resultCode": "Success", "results": {"logTail": "x" * 1000}}  # about the usual size


class CountingIO(DiskIO):
    """A real disk that counts its syncs."""

    syncs = 0

    async def fdatasync(self, name: str) -> None:
        """Sync and count."""
        self.syncs += 1
        await super().fdatasync(name)

    async def append_durably(self, *call: Any) -> None:
        """Append, sync and count."""
        self.syncs += 1
        await super().append_durably(*call)


def measure_journal(folder: Path, seconds: float) -> list[Figure]:
    """Write whole entries for so long with each number of callers."""
    found: list[Figure] = []
    for callers in CALLERS:
        found += asyncio.run(measure(folder / f"journal-{callers}", callers, seconds))
    return found


async def measure(folder: Path, callers: int, seconds: float) -> list[Figure]:
    """Let callers write beside each other: the intent, the report (synced), the closing."""
    io = CountingIO(folder)
    journal = await Journal.open(io)
    try:
        before, begun = io.syncs, time.perf_counter()
        reports = sum(await asyncio.gather(*(write(journal, at, begun + seconds) for at in range(callers))))
        took_s = time.perf_counter() - begun
        syncs = io.syncs - before
    finally:
        await journal.aclose()
    note = f"{reports} of about 1 KiB, with their intents and closings"
    return [
        Figure(
            name=f"journal, reports of {callers} callers", value=reports / took_s, unit="reports/s", note=note
        ),
        Figure(name=f"  syncs a report, {callers} callers", value=syncs / reports, unit="", note=note),
    ]


async def write(journal: Journal, caller: int, until: float) -> int:
    """Write one entry after another until a time; return how many."""
    number = 0
    while time.perf_counter() < until:
        run_id = f"run-{caller}-{number}"
        entry = Entry(
            run_id=run_id,
            task_id=f"task-{number}",
            job_id="job",
            task_type="noop",
            pod_id="pod/a",
            started_at="2026-01-01T00:00:00.000Z",
            intent={"id": run_id, "nodeCPUs": 2},
        )
        await journal.intent(entry)
        await journal.terminal(run_id, REPORT)
        await journal.close_entry(run_id)
        number += 1
    return number
