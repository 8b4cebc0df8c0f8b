"""Marks that are taken back."""

from __future__ import annotations

import asyncio

from tests.unit.reporting.memory import MemoryDisk, MemoryIO
from tests.unit.reporting.samples import REPORT, SMALL, entry, reopened
from worker.reporting.journal import Journal


def test_marks_that_are_taken_back_stay_so_and_nothing_else_changes() -> None:
    """Also after the machine lost its power, without another word of the journal."""

    async def main() -> None:
        disk = MemoryDisk()
        journal = await Journal.open(MemoryIO(disk), limits=SMALL)
        await journal.intent(entry())
        await journal.terminal("run-1", REPORT, requeue=True)
        for mark in ("elected", "refused", "fenced"):
            await journal.mark("run-1", mark)
        await journal.unmark("run-1", {"refused", "fenced", "reduced"})
        disk.lose_power()
        (one,) = (await reopened(disk)).entries.values()
        assert (one.marks, one.terminal, one.requeue) == (("elected",), REPORT, True)

    asyncio.run(main())
