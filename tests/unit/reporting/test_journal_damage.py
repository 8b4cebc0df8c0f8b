"""What the journal reads from segments that are torn or damaged."""

from __future__ import annotations

import asyncio

from tests.unit.reporting.memory import MemoryDisk, MemoryIO
from tests.unit.reporting.samples import REPORT, SMALL, entry, reopened
from worker.reporting.journal import Journal
from worker.reporting.records import (
    MAGIC,
    ClosedRecord,
    EntryRecord,
    Gap,
    MarkRecord,
    encode,
    read_records,
)
from worker.reporting.segments import recover


async def disk_with_two_reports() -> tuple[MemoryDisk, int, int]:
    """Return a disk with two finished runs, and where the record of the second report lies."""
    disk = MemoryDisk()
    journal = await reopened(disk)
    for run_id in ("run-1", "run-2"):
        await journal.intent(entry(run_id))
    await journal.terminal("run-1", REPORT)
    start = len(bytes(disk.last()).rstrip(b"\0"))
    await journal.terminal("run-2", REPORT)
    return disk, start, len(bytes(disk.last()).rstrip(b"\0"))


def test_a_write_torn_at_any_byte_loses_that_record_alone() -> None:
    """For every length of the last record that reached the disk, all before it is read."""

    async def scenario() -> None:
        disk, start, end = await disk_with_two_reports()
        whole = bytes(disk.last())
        for cut in range(start, end):
            for torn in (whole[:cut], whole[:cut] + bytes(len(whole) - cut)):
                disk.last()[:] = torn
                entries = (await recover(MemoryIO(disk))).entries
                assert entries == {"run-1": entry("run-1", terminal=REPORT), "run-2": entry("run-2")}
        disk.last()[:] = whole[:end]
        assert (await recover(MemoryIO(disk))).entries["run-2"].terminal == REPORT

    asyncio.run(scenario())


def test_a_flipped_bit_anywhere_never_changes_what_is_read() -> None:
    """One bit of each byte: the damaged record is missing or whole, every other one is there."""

    async def scenario() -> None:
        disk, _, end = await disk_with_two_reports()
        whole = bytes(disk.last())
        states = {
            "run-1": [None, entry("run-1"), entry("run-1", terminal=REPORT)],
            "run-2": [None, entry("run-2"), entry("run-2", terminal=REPORT)],
        }
        for bit in (byte * 8 + byte % 8 for byte in range(end)):
            disk.last()[:] = flipped(whole, bit)
            entries = (await recover(MemoryIO(disk))).entries
            for run_id, allowed in states.items():
                assert entries.get(run_id) in allowed, bit
            reported = [e for e in entries.values() if e.terminal is not None]
            assert len(reported) >= 1, bit

    asyncio.run(scenario())


def flipped(content: bytes, bit: int) -> bytes:
    """Return the content with one bit turned."""
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def test_a_damaged_segment_is_kept_for_a_person_and_the_next_start_is_clean() -> None:
    """What was read goes on in a new segment; the damaged file gets another name."""

    async def scenario() -> None:
        disk, start, _ = await disk_with_two_reports()
        disk.last()[start - 10] ^= 0xFF
        journal = await reopened(disk)
        assert journal.entries["run-1"] == entry("run-1")
        assert journal.entries["run-2"].terminal == REPORT
        assert [name for name in disk.written if name.endswith(".damaged")] == ["00000001.damaged"]
        assert (await recover(MemoryIO(disk))).damaged == ()

    asyncio.run(scenario())


def test_few_damaged_segments_are_kept() -> None:
    """A disk that damages every segment does not fill up with them."""

    async def scenario() -> None:
        disk = MemoryDisk()
        for _ in range(10):
            journal = await reopened(disk)
            await journal.intent(entry())
            disk.last()[20] ^= 1
        assert len([name for name in disk.written if name.endswith(".damaged")]) == 4

    asyncio.run(scenario())


def test_a_segment_without_its_base_takes_nothing_back() -> None:
    """A replacement that was never finished is older than the segment that went on."""

    async def scenario() -> None:
        disk, _, _ = await disk_with_two_reports()
        disk.written["00000002.seg"] = bytearray(MAGIC + encode(EntryRecord(entry("run-1"))))
        entries = (await recover(MemoryIO(disk))).entries
        assert entries["run-1"].terminal == REPORT

    asyncio.run(scenario())


def test_a_segment_that_could_not_be_removed_brings_nothing_back() -> None:
    """The base of a younger segment makes it void, though it lies there still."""

    async def scenario() -> None:
        disk, _, _ = await disk_with_two_reports()
        io = MemoryIO(disk)
        io.fail = lambda call, name: OSError("not now") if call == "remove" else None
        journal = await Journal.open(io, limits=SMALL)
        await journal.close_entry("run-1")
        await journal.sync()
        again = await Journal.open(io, limits=SMALL)
        assert len(disk.written) == 3
        assert list(again.entries) == ["run-2"]

    asyncio.run(scenario())


def test_other_files_and_empty_segments_are_no_matter() -> None:
    """A crash right after the creation leaves an empty file; a person may leave others."""

    async def scenario() -> None:
        disk, _, _ = await disk_with_two_reports()
        disk.written |= {"00000002.seg": bytearray(), "notes.txt": bytearray(b"x"), "x.seg": bytearray(b"y")}
        disk.written["00000003.seg"] = bytearray(5000)
        recovered = await recover(MemoryIO(disk))
        assert sorted(recovered.entries) == ["run-1", "run-2"]
        assert recovered.damaged == ()
        journal = await reopened(disk, SMALL)
        assert journal.is_healthy
        assert {"notes.txt", "x.seg", "00000004.seg"} == set(disk.written)

    asyncio.run(scenario())


def test_records_of_an_unknown_kind_or_version_are_skipped() -> None:
    """A newer agent's journal loses its new records alone."""
    newer = bytearray(encode(MarkRecord("run-1", "x")))
    newer[8] = 9
    segment = MAGIC + encode(EntryRecord(entry())) + bytes(newer) + encode(ClosedRecord("run-1"))
    records = list(read_records(segment))
    assert records[0] == EntryRecord(entry())
    assert isinstance(records[1], Gap)
    assert not records[1].is_tail
    assert records[2] == ClosedRecord("run-1")
