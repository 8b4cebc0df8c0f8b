"""Reports that share a sync, on a real disk."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

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

    async def append_durably(self, *call: Any) -> None:
        """Append, sync and count."""
        self.syncs += 1
        await super().append_durably(*call)


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


def test_an_intent_goes_on_while_the_report_beside_it_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are one write and one call of the thread; the intent is not to wait for a slow disk."""
    gate, sync = threading.Event(), os.fdatasync

    def held(file: int) -> None:
        assert gate.wait(30.0)
        sync(file)

    async def scenario() -> None:
        journal = await Journal.open(DiskIO(tmp_path))
        await journal.intent(entry("run-1"))
        monkeypatch.setattr(os, "fdatasync", held)  # a disk that takes its time; there is no seam below
        try:
            report = asyncio.create_task(journal.terminal("run-1", REPORT))
            async with asyncio.timeout(30.0):
                await journal.intent(entry("run-2"))
            await asyncio.sleep(0)
            assert not report.done()
        finally:
            gate.set()
        await report
        await journal.aclose()

    asyncio.run(scenario())
