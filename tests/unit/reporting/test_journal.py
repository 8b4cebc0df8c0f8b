"""What the journal promises while the disk is well."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.unit.reporting.memory import MemoryDisk, MemoryIO
from tests.unit.reporting.samples import REPORT, SMALL, entry, reopened
from worker.reporting import group_commit
from worker.reporting.journal import EntryTooLarge, Journal, JournalError, JournalFull, Limits
from worker.reporting.records import Child
from worker.reporting.segments import recover
from worker.usage.usage import Usage

LIMIT_S = 10.0


def test_an_entry_survives_with_everything_that_was_said_about_it() -> None:
    """The next agent reads intent, child, usage, marks, report and requeue as they were given."""

    async def scenario() -> None:
        disk = MemoryDisk()
        journal = await reopened(disk)
        await journal.intent(entry())
        journal.checkpoint("run-1", child=Child(77, 12345, "boot"))
        journal.checkpoint("run-1", usage=Usage(cpu_user_s=1.5, methods={"cpu_user_s": "wait4"}))
        await journal.mark("run-1", "fenced")
        await journal.mark("run-1", "fenced")
        await journal.terminal("run-1", REPORT, requeue=True)
        expected = entry(
            pid=77,
            pid_start=12345,
            boot_id="boot",
            usage=Usage(cpu_user_s=1.5, methods={"cpu_user_s": "wait4"}),
            marks=("fenced",),
            terminal=REPORT,
            requeue=True,
        )
        assert journal.entries == {"run-1": expected}
        assert (await reopened(disk)).entries == {"run-1": expected}

    asyncio.run(scenario())


def test_a_closed_entry_is_gone_after_a_restart() -> None:
    """What was delivered is not delivered again; what was not closed stays."""

    async def scenario() -> None:
        disk = MemoryDisk()
        journal = await reopened(disk)
        for run_id in ("run-1", "run-2"):
            await journal.intent(entry(run_id))
            await journal.terminal(run_id, REPORT)
        await journal.close_entry("run-1")
        await journal.sync()
        assert list((await reopened(disk)).entries) == ["run-2"]

    asyncio.run(scenario())


def test_a_closing_goes_along_with_the_next_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it, so that it costs no write of its own where more is done."""
    monkeypatch.setattr(group_commit, "PATIENT_S", 3600.0)

    async def scenario() -> None:
        io, journal = await with_a_closing()
        appends = io.calls["append"]
        for _ in range(20):  # a write by itself would begin in the first of these rounds
            await asyncio.sleep(0)
        assert io.calls["append"] == appends
        assert "run-1" not in journal.entries
        await journal.intent(entry("run-2"))
        assert io.calls["append"] == appends + 1
        assert list((await reopened(io.disk)).entries) == ["run-2"]

    asyncio.run(scenario())


def test_a_closing_is_written_soon_where_nothing_follows() -> None:
    """By itself: else each start would deliver once more."""

    async def scenario() -> None:
        io, _ = await with_a_closing()
        appends = io.calls["append"]
        async with asyncio.timeout(30.0):
            while io.calls["append"] == appends:  # noqa: ASYNC110 - the disk in memory tells nobody
                await asyncio.sleep(0.01)
        assert not (await reopened(io.disk)).entries

    asyncio.run(scenario())


@pytest.mark.parametrize("end", [Journal.aclose, Journal.flush])
def test_a_closing_is_written_at_the_end(
    end: Callable[[Journal], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By who closes the journal, and by a drain, however long it would have waited."""
    monkeypatch.setattr(group_commit, "PATIENT_S", 3600.0)

    async def scenario() -> None:
        io, journal = await with_a_closing()
        await end(journal)
        assert not (await reopened(io.disk)).entries

    asyncio.run(scenario())


async def with_a_closing() -> tuple[MemoryIO, Journal]:
    """Return a journal whose only entry was closed in this moment, and its disk."""
    io = MemoryIO()
    journal = await Journal.open(io, limits=SMALL)
    await journal.intent(entry("run-1"))
    await journal.terminal("run-1", REPORT)
    await journal.close_entry("run-1")
    return io, journal


def test_a_report_is_synced_before_its_call_returns_and_an_intent_is_not_synced() -> None:
    """A power cut right after `terminal` returned loses nothing of it; an intent alone may go."""

    async def scenario() -> None:
        io = MemoryIO()
        journal = await Journal.open(io, limits=SMALL)
        syncs = io.calls["fdatasync"]
        await journal.intent(entry("run-1"))
        journal.checkpoint("run-1", usage=Usage(wall_s=1.0))
        assert io.calls["fdatasync"] == syncs
        await journal.terminal("run-1", REPORT)
        assert io.calls["fdatasync"] == syncs + 1
        await journal.intent(entry("run-2"))
        io.disk.lose_power()
        assert list((await reopened(io.disk)).entries) == ["run-1"]

    asyncio.run(scenario())


def test_an_intent_outlives_the_agent_without_a_sync() -> None:
    """The write reached the kernel when `intent` returned, so a killed agent's claim is known."""

    async def scenario() -> None:
        disk = MemoryDisk()
        await (await reopened(disk)).intent(entry())
        assert (await reopened(disk)).entries == {"run-1": entry()}

    asyncio.run(scenario())


def test_reports_that_wait_while_a_sync_is_under_way_share_the_next_one() -> None:
    """A hundred reports at once cost two syncs: the one of the first, and one for all others."""

    async def scenario() -> None:
        io = MemoryIO()
        journal = await Journal.open(io, limits=SMALL)
        for number in range(100):
            await journal.intent(entry(f"run-{number}"))
        before = io.calls["fdatasync"]
        io.gate, io.syncing = asyncio.Event(), asyncio.Event()
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
            group.create_task(journal.terminal("run-0", REPORT))
            await io.syncing.wait()
            for number in range(1, 100):
                group.create_task(journal.terminal(f"run-{number}", REPORT))
            await asyncio.sleep(0)
            io.gate.set()
        assert io.calls["fdatasync"] - before == 2
        io.disk.lose_power()
        assert all(e.terminal == REPORT for e in (await reopened(io.disk)).entries.values())

    asyncio.run(scenario())


def test_a_caller_that_is_cancelled_leaves_its_report_on_disk() -> None:
    """The write belongs to the journal, not to the task that asked for it."""

    async def scenario() -> None:
        io = MemoryIO()
        journal = await Journal.open(io, limits=SMALL)
        await journal.intent(entry())
        io.gate, io.syncing = asyncio.Event(), asyncio.Event()
        report = asyncio.create_task(journal.terminal("run-1", REPORT))
        await asyncio.wait_for(io.syncing.wait(), LIMIT_S)
        assert journal.is_healthy, "a write under way is no failure"
        report.cancel()
        with pytest.raises(asyncio.CancelledError):
            await report
        io.gate.set()
        await journal.sync()
        io.disk.lose_power()
        assert (await reopened(io.disk)).entries["run-1"].terminal == REPORT

    asyncio.run(scenario())


def test_ten_thousand_entries_keep_the_disk_use_bounded() -> None:
    """Segments that are history are replaced; an entry that stays open through it all survives."""

    async def scenario() -> None:
        disk = MemoryDisk()
        journal = await reopened(disk)
        await journal.intent(entry("stays"))
        largest = 0
        for start in range(0, 10_000, 50):
            run_ids = [f"run-{number}" for number in range(start, start + 50)]
            await asyncio.gather(*(journal.intent(entry(run_id)) for run_id in run_ids))
            await asyncio.gather(*(journal.terminal(run_id, REPORT) for run_id in run_ids))
            await asyncio.gather(*(journal.close_entry(run_id) for run_id in run_ids))
            largest = max(largest, disk.size_bytes)
        assert largest < 2 * SMALL.segment_bytes + 60 * SMALL.reserve_bytes + (1 << 20)
        assert len([name for name in disk.written if name.endswith(".seg")]) == 1
        await journal.sync()
        assert list((await reopened(disk)).entries) == ["stays"]

    asyncio.run(scenario())


def test_undelivered_reports_are_not_copied_with_every_few_records() -> None:
    """While a server is away for days, a segment grows with what is open, so copying stays cheap."""

    async def scenario() -> None:
        io = MemoryIO()
        limits = Limits(reserve_bytes=4096, intent_bytes=2048, segment_bytes=8192)
        journal = await Journal.open(io, limits=limits)
        for number in range(1000):
            await journal.intent(entry(f"run-{number}"))
            await journal.terminal(f"run-{number}", REPORT)
        assert len((await reopened(io.disk, limits)).entries) == 1000
        assert io.calls["create"] < 20

    asyncio.run(scenario())


def test_bounds_are_refused_with_a_clear_error_and_change_nothing() -> None:
    """Too many entries, too large an intent, too large a report: each says what to do."""

    async def scenario() -> None:
        limits = Limits(max_open=2, reserve_bytes=4096, intent_bytes=1024)
        journal = await Journal.open(MemoryIO(), limits=limits)
        await journal.intent(entry("run-1"))
        with pytest.raises(EntryTooLarge, match=r"run-2.*1024"):
            await journal.intent(entry("run-2", marks=("x" * 2000,)))
        await journal.intent(entry("run-2"))
        with pytest.raises(JournalFull, match="2 entries"):
            await journal.intent(entry("run-3"))
        with pytest.raises(EntryTooLarge, match="cut its report down"):
            await journal.terminal("run-1", {"results": "x" * 5000})
        assert journal.entries == {"run-1": entry("run-1"), "run-2": entry("run-2")}
        assert journal.is_healthy

    asyncio.run(scenario())


def test_a_report_about_an_unknown_run_is_refused() -> None:
    """A report needs its entry: nobody could deliver it without."""

    async def scenario() -> None:
        journal = await reopened(MemoryDisk())
        with pytest.raises(KeyError):
            await journal.terminal("nobody", REPORT)

    asyncio.run(scenario())


def test_a_closed_journal_takes_nothing_more_but_finishes_what_was_queued() -> None:
    """Closing waits for the write under way; a later call is told so."""

    async def scenario() -> None:
        io = MemoryIO()
        journal = await Journal.open(io, limits=SMALL)
        await journal.intent(entry())
        report = asyncio.create_task(journal.terminal("run-1", REPORT))
        await asyncio.sleep(0)
        await journal.aclose()
        await report
        assert io.is_closed
        assert not journal.is_healthy
        with pytest.raises(JournalError, match="closed"):
            await journal.intent(entry("run-2"))
        assert (await reopened(io.disk)).entries["run-1"].terminal == REPORT

    asyncio.run(scenario())


def test_an_onlooker_reads_what_is_open_and_changes_nothing() -> None:
    """A command beside a live agent may look."""

    async def scenario() -> None:
        io = MemoryIO()
        journal = await Journal.open(io, limits=SMALL)
        await journal.intent(entry())
        before = {name: bytes(content) for name, content in io.disk.written.items()}
        onlooker = MemoryIO(io.disk)
        assert (await recover(onlooker)).entries == {"run-1": entry()}
        assert io.disk.written == before
        assert set(onlooker.calls) == {"names", "read"}

    asyncio.run(scenario())
