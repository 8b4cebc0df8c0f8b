"""What the journal promises when the disk fails."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from datetime import UTC, datetime

import pytest

from tests.unit.reporting.memory import MemoryDisk, MemoryIO, no_space
from tests.unit.reporting.samples import REPORT, SMALL, entry, reopened
from worker.reporting.journal import Journal, JournalError, JournalFull
from worker.reporting.segments import recover
from worker.usage.usage import Usage

MANY_ERRORS = [errno.EIO, errno.ENOSPC]


class HandClock:
    """A clock that a test moves."""

    mono_s = 1000.0

    def now(self) -> datetime:
        """Return some time of day."""
        return datetime(2026, 1, 1, tzinfo=UTC)

    def mono(self) -> float:
        """Return the time that was set."""
        return self.mono_s


class FailOnce:
    """Fail the first call of a kind."""

    def __init__(self, call: str, code: int) -> None:
        """Fail `call` with an errno."""
        self.call, self.code, self.failed = call, code, ""

    def __call__(self, call: str, name: str) -> OSError | None:
        """Return the error for the first such call."""
        if call != self.call or self.failed:
            return None
        self.failed = name
        return OSError(self.code, "as asked")


@pytest.mark.parametrize("code", MANY_ERRORS)
@pytest.mark.parametrize("call", ["append", "fdatasync"])
def test_a_failed_write_or_sync_moves_all_that_is_open_to_a_new_segment(call: str, code: int) -> None:
    """A second sync of the same file proves nothing; the report is durable in another file."""

    async def scenario() -> None:
        io = MemoryIO()
        journal = await Journal.open(io, limits=SMALL)
        await journal.intent(entry("run-1"))
        await journal.intent(entry("run-2"))
        io.fail = fault = FailOnce(call, code)
        await journal.terminal("run-1", REPORT)
        assert journal.is_healthy
        assert fault.failed
        assert fault.failed not in io.disk.written
        io.disk.lose_power()
        entries = (await reopened(io.disk)).entries
        assert entries["run-1"].terminal == REPORT
        assert entries["run-2"] == entry("run-2")

    asyncio.run(scenario())


def test_a_dead_disk_is_told_and_the_report_is_kept_until_it_is_back() -> None:
    """The error reaches the caller, the entry stays in memory, and the next try succeeds."""

    async def scenario() -> None:
        io = MemoryIO()
        journal = await Journal.open(io, limits=SMALL)
        await journal.intent(entry())
        io.fail = lambda call, name: OSError(errno.EIO, "dead") if call != "remove" else None
        with pytest.raises(JournalError, match="dead"):
            await journal.terminal("run-1", REPORT)
        assert not journal.is_healthy
        assert journal.entries["run-1"].terminal == REPORT
        with pytest.raises(JournalFull):
            await journal.intent(entry("run-2"))
        with pytest.raises(JournalError):
            await journal.sync()
        io.fail = lambda call, name: None
        await journal.sync()
        assert journal.is_healthy
        io.disk.lose_power()
        assert (await reopened(io.disk)).entries == journal.entries
        assert list(journal.entries) == ["run-1"]

    asyncio.run(scenario())


def test_what_happened_while_the_disk_was_dead_is_written_when_it_is_back() -> None:
    """Marks, checkpoints and closings do not fail; the next segment carries them."""

    async def scenario() -> None:
        io, clock = MemoryIO(), HandClock()
        journal = await Journal.open(io, clock, SMALL)
        await journal.intent(entry("run-1"))
        await journal.intent(entry("run-2"))
        io.fail = lambda call, name: OSError(errno.EIO, "dead")
        await journal.mark("run-1", "fenced")
        journal.checkpoint("run-1", usage=Usage(wall_s=2.0))
        await journal.close_entry("run-2")
        creates = io.calls["create"]
        await journal.mark("run-1", "again")
        assert io.calls["create"] == creates, "a failing disk is not asked for every mark"
        io.fail = lambda call, name: None
        clock.mono_s += 2.0
        await journal.mark("run-1", "late")
        assert (await reopened(io.disk)).entries == {
            "run-1": entry("run-1", usage=Usage(wall_s=2.0), marks=("fenced", "again", "late"))
        }

    asyncio.run(scenario())


def test_an_intent_without_room_for_its_report_is_refused() -> None:
    """A disk that is full stops claims, not reports: their room was reserved before."""

    async def scenario() -> None:
        io = MemoryIO()
        journal = await Journal.open(io, limits=SMALL)
        await journal.intent(entry("run-0"))
        size = len(io.disk.last())
        io.fail = lambda call, name: no_space() if call in {"allocate", "create"} else None
        accepted = await intents_until_refused(journal)
        assert 1 < accepted < 100
        assert f"run-{accepted}" not in journal.entries
        for number in range(accepted):
            journal.checkpoint(f"run-{number}", usage=Usage(wall_s=1.0))
            await journal.terminal(f"run-{number}", REPORT | {"results": "x" * 3000})
            await journal.close_entry(f"run-{number}")
        assert len(io.disk.last()) == size, "the reports took no byte that was not reserved"
        assert journal.is_healthy

    asyncio.run(scenario())


async def intents_until_refused(journal: Journal) -> int:
    """Fill a journal; return the number of the intent that was refused."""
    for number in range(1, 1000):
        try:
            await journal.intent(entry(f"run-{number}"))
        except JournalFull:
            break
    with pytest.raises(JournalFull, match="No space left"):
        await journal.intent(entry(f"run-{number}"))
    return number


def test_an_intent_that_was_told_to_be_written_is_never_forgotten() -> None:
    """Its batch's sync fails afterwards, and the new segment has no room to spare: it stays."""

    async def scenario() -> None:
        io = MemoryIO()
        journal = await Journal.open(io, limits=SMALL)
        await journal.intent(entry("run-1"))
        sync_fault, room_fault = FailOnce("fdatasync", errno.EIO), FailOnce("allocate", errno.ENOSPC)

        def fail(call: str, name: str) -> OSError | None:
            return sync_fault(call, name) or (room_fault(call, name) if sync_fault.failed else None)

        io.fail = fail
        await asyncio.gather(journal.intent(entry("run-2")), journal.terminal("run-1", REPORT))
        assert room_fault.failed
        assert sorted(journal.entries) == ["run-1", "run-2"]
        assert sorted((await reopened(io.disk)).entries) == ["run-1", "run-2"]

    asyncio.run(scenario())


def test_a_fault_of_ours_fails_the_call_and_not_the_journal() -> None:
    """No caller waits for ever, whatever is raised; the next call starts anew."""

    async def scenario() -> None:
        io = MemoryIO()
        journal = await Journal.open(io, limits=SMALL)
        await journal.intent(entry())
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)

        def fail(call: str, name: str) -> OSError | None:
            raise RuntimeError("a fault of ours")

        io.fail = fail
        async with asyncio.timeout(10.0):
            with pytest.raises(JournalError, match="a fault of ours"):
                await journal.terminal("run-1", REPORT)
            io.fail = lambda call, name: None
            await journal.terminal("run-1", REPORT)
        assert (await reopened(io.disk)).entries["run-1"].terminal == REPORT

    asyncio.run(scenario())


def test_a_segment_that_cannot_be_replaced_goes_on() -> None:
    """Without space for a new segment the old one, with its reserved room, is still used."""

    async def scenario() -> None:
        io = MemoryIO()
        journal = await Journal.open(io, limits=SMALL)
        await journal.intent(entry("run-0"))
        io.fail = lambda call, name: no_space() if call == "create" else None
        for number in range(1, 200):
            await journal.intent(entry(f"run-{number}"))
            await journal.terminal(f"run-{number}", REPORT)
            await journal.close_entry(f"run-{number}")
        await journal.sync()
        assert len(io.disk.last()) > SMALL.segment_bytes
        assert journal.is_healthy
        assert list((await reopened(io.disk)).entries) == ["run-0"]

    asyncio.run(scenario())


def test_an_agent_starts_on_a_disk_that_can_only_be_read() -> None:
    """What is open is known, nothing is removed, and no claim is made."""

    async def scenario() -> None:
        disk = MemoryDisk()
        before = await reopened(disk)
        await before.intent(entry())
        await before.terminal("run-1", REPORT)
        io = MemoryIO(disk)
        io.fail = lambda call, name: None if call in {"names", "read"} else OSError(errno.EROFS, "read-only")
        journal = await Journal.open(io, limits=SMALL)
        assert not journal.is_healthy
        assert journal.entries["run-1"].terminal == REPORT
        with pytest.raises(JournalFull):
            await journal.intent(entry("run-2"))
        assert (await reopened(disk)).entries["run-1"].terminal == REPORT

    asyncio.run(scenario())


def test_a_disk_that_hangs_counts_as_failed() -> None:
    """No report waits for ever: the time limit moves on to a new segment."""

    async def scenario() -> None:
        io = MemoryIO()
        limits = type(SMALL)(reserve_bytes=4096, intent_bytes=2048, io_timeout_s=0.05)
        journal = await Journal.open(io, limits=limits)
        await journal.intent(entry())
        io.gate = asyncio.Event()
        with pytest.raises(JournalError):
            await journal.terminal("run-1", REPORT)
        io.gate.set()
        await journal.terminal("run-1", REPORT)
        assert journal.is_healthy

    asyncio.run(scenario())


@pytest.mark.parametrize("at_call", range(1, 14))
def test_power_may_fail_at_any_call_while_a_segment_is_replaced(at_call: int) -> None:
    """Whatever the replacement had reached, every report that was told durable is there."""

    async def scenario() -> None:
        io, count = MemoryIO(), 0
        journal = await Journal.open(io, limits=SMALL)
        durable: dict[str, object] = {}

        def fail(call: str, name: str) -> OSError | None:
            nonlocal count
            count += io.calls["create"] > 1
            return OSError(errno.EIO, "power is gone") if count >= at_call else None

        io.fail = fail
        while journal.is_healthy:
            run_id = f"run-{len(durable)}"
            with contextlib.suppress(JournalError):
                await journal.intent(entry(run_id))
                await journal.terminal(run_id, REPORT)
                durable[run_id] = REPORT
        for is_power_lost in (False, True):
            if is_power_lost:
                io.disk.lose_power()
            reported = {k: e.terminal for k, e in (await recover(MemoryIO(io.disk))).entries.items()}
            assert durable
            assert all(reported[run_id] == report for run_id, report in durable.items())

    asyncio.run(scenario())


def test_a_disk_that_hangs_does_not_hold_up_the_end() -> None:
    """Closing gives up after the time limit; what was written is there."""

    async def scenario() -> None:
        io = MemoryIO()
        limits = type(SMALL)(reserve_bytes=4096, intent_bytes=2048, io_timeout_s=0.05)
        journal = await Journal.open(io, limits=limits)
        await journal.intent(entry())
        io.close_gate = asyncio.Event()
        async with asyncio.timeout(10.0):
            await journal.aclose()
        assert not io.is_closed
        assert (await reopened(io.disk)).entries == {"run-1": entry()}

    asyncio.run(scenario())


def test_a_report_whose_caller_is_gone_is_written_where_intents_find_no_room() -> None:
    """The end of a drain on a full disk: the room of the report was reserved, whoever waits for it."""

    async def scenario() -> None:
        io = MemoryIO()
        journal = await Journal.open(io, limits=SMALL)
        await journal.intent(entry("run-1"))
        io.fail = lambda call, name: no_space() if call == "allocate" else None
        report = asyncio.create_task(journal.terminal("run-1", REPORT))
        intents = [asyncio.create_task(journal.intent(entry(f"new-{number}"))) for number in range(200)]
        await asyncio.sleep(0)
        report.cancel()
        ends = await asyncio.gather(*intents, return_exceptions=True)
        assert any(isinstance(end, JournalFull) for end in ends)
        await journal.flush()
        assert (await reopened(io.disk)).entries["run-1"].terminal == REPORT

    asyncio.run(scenario())
