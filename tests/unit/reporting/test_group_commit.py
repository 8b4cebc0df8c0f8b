"""Reports that share a sync, on a real disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.unit.reporting.samples import REPORT, entry
from worker.reporting.disk import DiskIO
from worker.reporting.journal import Journal
from worker.reporting.segments import recover

CALLERS = 64
ROUNDS = 4  # of each


class CountingIO(DiskIO):
    """A disk that counts its syncs."""

    syncs = 0

    async def fdatasync(self, name: str) -> None:
        """Sync and count."""
        self.syncs += 1
        await super().fdatasync(name)


def test_callers_beside_each_other_share_their_syncs(tmp_path: Path) -> None:
    """64 callers, 256 reports: all durable, with far fewer syncs, however fast the disk is."""

    async def write(journal: Journal, caller: int) -> None:
        for number in range(ROUNDS):
            run_id = f"run-{caller}-{number}"
            await journal.intent(entry(run_id))
            await journal.terminal(run_id, REPORT)

    async def scenario() -> int:
        io = CountingIO(tmp_path)
        journal = await Journal.open(io)
        before = io.syncs
        async with asyncio.TaskGroup() as group:
            for caller in range(CALLERS):
                group.create_task(write(journal, caller))
        syncs = io.syncs - before
        await journal.aclose()
        found = (await recover(DiskIO(tmp_path))).entries
        assert len(found) == CALLERS * ROUNDS
        assert all(one.terminal == REPORT for one in found.values())
        return syncs

    assert 1 <= asyncio.run(scenario()) <= CALLERS * ROUNDS / 8
