"""A journal that a newer release wrote is known as such, and nothing else is taken for one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.unit.reporting.memory import MemoryDisk, MemoryIO
from tests.unit.reporting.samples import newer_segment, record_of, reopened
from worker.reporting.onlook import look
from worker.reporting.records import MAGIC, NewerForm
from worker.reporting.segments import recover, replay

RELEASED = Path(__file__).parents[2] / "released"


@pytest.mark.parametrize("how", ["form", "version", "kind"])
def test_what_only_a_newer_release_writes_is_refused_before_anything_is_changed(
    how: str, tmp_path: Path
) -> None:
    """Whoever went on would set the segment aside as damaged, with outcomes that nobody has."""

    async def scenario() -> None:
        disk = MemoryDisk()
        await (await reopened(disk)).aclose()
        disk.last()[:] = newer_segment(how)
        before = bytes(disk.last())
        with pytest.raises(NewerForm, match=r"newer millhand: 00000001\.seg: .*Nothing was changed"):
            await reopened(disk)
        assert bytes(disk.last()) == before
        with pytest.raises(NewerForm):
            await recover(MemoryIO(disk))

    asyncio.run(scenario())
    (tmp_path / "00000001.seg").write_bytes(newer_segment(how))
    with pytest.raises(NewerForm):
        look(tmp_path)


def test_a_newer_release_may_add_fields(tmp_path: Path) -> None:
    """They are passed over: that is how fields of the journal come, so that a rollback works."""
    entry = {"run_id": "r", "task_id": "t", "pod_id": "p", "started_at": "2026-01-02T03:04:05.678Z", "new": 1}
    (tmp_path / "00000001.seg").write_bytes(MAGIC + record_of({"k": "entry", "entry": entry, "more": []}))
    assert list(look(tmp_path).entries) == ["r"]


def test_damage_is_not_taken_for_a_newer_release() -> None:
    """One bit of each byte, and each of the first: what is read is what it was, or damaged; never refused."""
    whole = (RELEASED / "state-466d7af/journal/00000001.seg").read_bytes()
    for at in range(len(whole)):
        for bit in [1 << n for n in range(8)] if at < len(MAGIC) else [1 << at % 8]:
            flipped = bytearray(whole)
            flipped[at] ^= bit
            replay("00000001.seg", bytes(flipped))
