"""What the journal says of runs whose files are not stored yet."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.reporting.memory import MemoryDisk, MemoryIO, no_space
from tests.unit.reporting.samples import REPORT, SMALL, entry, reopened
from worker.reporting.journal import EntryTooLarge, Journal
from worker.reporting.records import MAGIC, STORED_MARK, EntryRecord, encode
from worker.reporting.segments import recover
from worker.storage.file import SpooledFile

WHOLE = {**REPORT, "results": {"value": 42, "files": [{"name": "a.stl", "url": "file:///s/run-1/a.stl"}]}}


def spooled(name: str = "a.stl") -> SpooledFile:
    """Return a file in the spool."""
    return SpooledFile(name=name, path="run-1/0", size_bytes=5, sha256="ab" * 32, content_type="model/stl")


async def ended(disk: MemoryDisk) -> Journal:
    """Return a journal with one run that ended, and has a file to store."""
    journal = await reopened(disk)
    await journal.intent(entry())
    await journal.ended("run-1", REPORT, (spooled(),), requeue=True)
    return journal


def test_an_end_with_files_to_store_survives_with_all_of_it() -> None:
    """The next life knows the outcome, the files, and that a requeue follows: it is no lost run."""

    async def scenario() -> None:
        disk = MemoryDisk()
        journal = await ended(disk)
        expected = entry(ended=REPORT, files=(spooled(),), requeue=True)
        assert journal.entries == {"run-1": expected}
        assert expected.waits_for_files
        disk.lose_power()
        assert (await reopened(disk)).entries == {"run-1": expected}

    asyncio.run(scenario())


def test_the_report_takes_the_place_of_the_end() -> None:
    """With its files; those that are told before they are stored stay with it until a mark says so."""

    async def scenario() -> None:
        disk = MemoryDisk()
        journal = await ended(disk)
        await journal.terminal("run-1", WHOLE, requeue=True, unstored=(spooled(),))
        disk.lose_power()
        journal = await reopened(disk)
        found = journal.entries["run-1"]
        assert found == entry(terminal=WHOLE, files=(spooled(),), requeue=True)
        assert found.waits_for_files
        await journal.mark("run-1", STORED_MARK)
        assert not journal.entries["run-1"].waits_for_files
        await journal.terminal("run-1", WHOLE)
        assert (await reopened(disk)).entries["run-1"] == entry(terminal=WHOLE, marks=(STORED_MARK,))

    asyncio.run(scenario())


def test_a_write_torn_at_any_byte_leaves_the_stage_before() -> None:
    """The end, then the report: each is there as a whole or not at all, with the files that belong to it."""

    async def scenario() -> None:
        disk = MemoryDisk()
        journal = await reopened(disk)
        await journal.intent(entry())
        marks = [len(bytes(disk.last()).rstrip(b"\0"))]
        await journal.ended("run-1", REPORT, (spooled(),))
        marks.append(len(bytes(disk.last()).rstrip(b"\0")))
        await journal.terminal("run-1", WHOLE)
        marks.append(len(bytes(disk.last()).rstrip(b"\0")))
        whole = bytes(disk.last())
        stages = [entry(), entry(ended=REPORT, files=(spooled(),)), entry(terminal=WHOLE)]
        for cut in range(marks[0], marks[2]):
            for torn in (whole[:cut], whole[:cut] + bytes(len(whole) - cut)):
                disk.last()[:] = torn
                found = (await recover(MemoryIO(disk))).entries["run-1"]
                assert found == stages[sum(cut >= mark for mark in marks[1:])], cut
        disk.last()[:] = whole
        assert (await recover(MemoryIO(disk))).entries["run-1"] == stages[2]

    asyncio.run(scenario())


@pytest.mark.parametrize("bit", range(0, 8, 3))
def test_a_flipped_bit_never_invents_a_file_or_an_outcome(bit: int) -> None:
    """In any byte of the end's record: it is whole, or as if it had never been written."""

    async def scenario() -> None:
        disk = MemoryDisk()
        journal = await reopened(disk)
        await journal.intent(entry())
        start = len(bytes(disk.last()).rstrip(b"\0"))
        await journal.ended("run-1", REPORT, (spooled(),))
        whole = bytes(disk.last())
        for byte in range(start, len(whole.rstrip(b"\0"))):
            damaged = bytearray(whole)
            damaged[byte] ^= 1 << bit
            disk.last()[:] = damaged
            assert (await recover(MemoryIO(disk))).entries["run-1"] == entry()
        assert (await reopened(disk)).is_damaged
        assert not (await reopened(disk)).is_damaged

    asyncio.run(scenario())


def test_both_records_of_an_end_find_room_on_a_disk_that_has_filled_up() -> None:
    """The room of each is reserved with the claim."""

    async def scenario() -> None:
        io = MemoryIO()
        journal = await Journal.open(io, limits=SMALL)
        for number in range(3):
            await journal.intent(entry(f"run-{number}"))
        size = len(io.disk.last())
        io.fail = lambda call, name: no_space() if call in {"allocate", "create"} else None
        large = REPORT | {"results": "x" * 3000}
        for number in range(3):
            await journal.ended(f"run-{number}", large, (spooled(),))
            await journal.mark(f"run-{number}", "stored|0123456789ab")
        for number in range(3):
            await journal.terminal(f"run-{number}", large)
        assert len(io.disk.last()) == size, "they took no byte that was not reserved"
        assert journal.is_healthy

    asyncio.run(scenario())


def test_an_end_is_refused_where_its_report_would_find_no_room() -> None:
    """It is asked before, with the files' addresses; the message says the bound."""

    async def scenario() -> None:
        journal = await ended(MemoryDisk())
        before = dict(journal.entries)
        journal.must_fit("run-1", WHOLE)
        large = REPORT | {"results": "x" * 4096}
        with pytest.raises(EntryTooLarge, match="4096 are allowed"):
            journal.must_fit("run-1", large)
        with pytest.raises(EntryTooLarge, match="96 are allowed"):
            journal.must_fit("run-1", WHOLE, spare_bytes=4000)
        with pytest.raises(EntryTooLarge, match="4096 are allowed"):
            await journal.ended("run-1", large, (spooled(),))
        assert journal.entries == before

    asyncio.run(scenario())


def test_a_segment_that_was_never_finished_takes_no_end_back() -> None:
    """It was begun before the end was written; one that knows more is believed."""

    async def scenario() -> None:
        disk = MemoryDisk()
        await ended(disk)
        disk.written["00000002.seg"] = bytearray(MAGIC + encode(EntryRecord(entry())))
        assert (await recover(MemoryIO(disk))).entries["run-1"].ended == REPORT
        disk.written["00000002.seg"] = bytearray(MAGIC + encode(EntryRecord(entry(terminal=WHOLE))))
        assert (await recover(MemoryIO(disk))).entries["run-1"].terminal == WHOLE
        disk.written["00000003.seg"] = bytearray(MAGIC + encode(EntryRecord(entry(ended=REPORT))))
        assert (await recover(MemoryIO(disk))).entries["run-1"].terminal == WHOLE

    asyncio.run(scenario())
