"""Journals are read beside the agent that writes them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.unit.reporting.samples import REPORT, entry
from worker.reporting.disk import DiskIO
from worker.reporting.journal import Journal, Limits
from worker.reporting.onlook import Seen, look

TINY = Limits(reserve_bytes=4096, intent_bytes=2048, segment_bytes=2048)
LIMIT_S = 30.0  # a bound for a hang


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names_in(folder: Path) -> set[str]:
    """Return the names of a folder's files."""
    return {path.name for path in folder.iterdir()}


async def written(folder: Path) -> None:
    """Leave a journal: one run with an outcome, one without, one that is done."""
    journal = await Journal.open(DiskIO(folder), limits=TINY)
    for run_id in ("run-1", "run-2", "run-3"):
        await journal.intent(entry(run_id))
    await journal.terminal("run-1", REPORT)
    await journal.close_entry("run-3")
    await journal.aclose()


def test_looking_at_a_live_journal_shows_all_and_changes_nothing(tmp_path: Path) -> None:
    """Neither a byte nor a name; the agent goes on writing."""

    async def main() -> None:
        journal = await Journal.open(DiskIO(tmp_path), limits=TINY)
        await journal.intent(entry("run-1"))
        await journal.terminal("run-1", REPORT)
        before = contents(tmp_path)
        seen = look(tmp_path)
        assert (seen.entries, seen.is_whole) == (dict(journal.entries), True)
        assert contents(tmp_path) == before
        await journal.mark("run-1", "refused")
        assert look(tmp_path).entries["run-1"].marks == ("refused",)
        await journal.aclose()

    asyncio.run(main())


def test_no_entry_is_missed_while_segments_are_replaced(tmp_path: Path) -> None:
    """A result that is open all the time is seen at every look, whatever comes and goes beside it."""

    async def churn(journal: Journal, is_over: asyncio.Event) -> int:
        count = 0
        while not is_over.is_set():
            await journal.intent(entry(f"other-{count}"))
            await journal.close_entry(f"other-{count}")
            count += 1
        return count

    async def main() -> tuple[list[Seen], int, set[str]]:
        journal = await Journal.open(DiskIO(tmp_path), limits=TINY)
        await journal.intent(entry("kept"))
        await journal.terminal("kept", REPORT)
        is_over = asyncio.Event()
        churning = asyncio.create_task(churn(journal, is_over))
        looks: list[Seen] = []
        names: set[str] = set()
        async with asyncio.timeout(LIMIT_S):
            while len(looks) < 60 or len(names) < 5:
                looks.append(await asyncio.to_thread(look, tmp_path))
                names |= names_in(tmp_path)
            is_over.set()
            count = await churning
        await journal.aclose()
        return looks, count, names

    looks, count, names = asyncio.run(main())
    assert count > 0
    assert len(names) >= 5, "segments were replaced meanwhile"
    assert all(seen.entries["kept"].terminal == REPORT and seen.is_whole for seen in looks)


def test_a_journal_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """And is not made by looking."""
    assert look(tmp_path / "none") == Seen({})
    assert not (tmp_path / "none").exists()


def test_a_torn_end_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    """As after a loss of power."""
    asyncio.run(written(tmp_path))
    (segment,) = tmp_path.iterdir()
    segment.write_bytes(segment.read_bytes().rstrip(b"\0")[:-5])
    seen = look(tmp_path)
    assert (seen.torn, seen.damaged, seen.is_whole) == ((segment.name,), (), False)
    assert seen.entries["run-1"].terminal == REPORT


def test_damage_in_the_middle_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    """Every whole record counts; what an earlier life set aside is named too."""
    asyncio.run(written(tmp_path))
    (segment,) = tmp_path.iterdir()
    content = bytearray(segment.read_bytes())
    content[content.index(b"run-2")] ^= 0xFF
    segment.write_bytes(content)
    (tmp_path / "00000000.damaged").write_bytes(b"?")
    seen = look(tmp_path)
    assert (seen.damaged, seen.torn, seen.set_aside) == ((segment.name,), (), ("00000000.damaged",))
    assert set(seen.entries) == {"run-1"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_an_error_and_not_empty(tmp_path: Path) -> None:
    """Nothing to show is no reason to believe that nothing is there."""
    folder = tmp_path / "journal"
    folder.mkdir(mode=0)
    try:
        with pytest.raises(PermissionError):
            look(folder)
    finally:
        folder.chmod(0o700)
