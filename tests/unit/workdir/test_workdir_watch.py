"""The limit of a run's folder: when it is looked at, and what is said."""

import asyncio
from pathlib import Path

import pytest

from worker.executor import workdir_watch
from worker.executor.folder_size import FolderSize
from worker.executor.workdir_watch import Looks, WorkdirWatch, excess, pause_s

GB = 10**9


@pytest.mark.parametrize(
    ("size_bytes", "limit_bytes", "text"),
    [
        (0, 0, None),
        (10 * GB, 10 * GB, None),
        (12_300_000_000, 10 * GB, "the run's folder holds 12.3 GB, more than its limit of 10 GB"),
        (1, 0, "the run's folder holds 1 bytes, more than its limit of 0 bytes"),
        (1_500_000, 1_000, "the run's folder holds 1.5 MB, more than its limit of 1 kB"),
        (
            10 * GB + 1, 10 * GB,
            "the run's folder holds 10000000001 bytes, more than its limit of 10000000000 bytes",
        ),
    ],
)  # fmt: skip
def test_what_is_too_much_is_said_in_words(size_bytes: int, limit_bytes: int, text: str | None) -> None:
    """The limit itself is allowed; two sizes that look alike are said to the byte."""
    assert excess(size_bytes, limit_bytes) == text


@pytest.mark.parametrize(
    ("spent_s", "wanted_s"), [(0.0, 1.0), (0.001, 1.0), (0.1, 4.9), (0.2, 9.8), (1.0, 49.0), (100.0, 60.0)]
)
def test_looking_takes_at_most_two_per_cent_of_a_core(spent_s: float, wanted_s: float) -> None:
    """Unless the folder is so large that it would be looked at less than once a minute."""
    assert pause_s(spent_s) == pytest.approx(wanted_s)


class Growing:
    """A folder that is larger at each look, in two steps."""

    looks = 0
    spent_s = 0.0

    def __init__(self, folder: Path, enough_bytes: int) -> None:
        self._steps = 0
        self.closed = False

    def step(self, limit_s: float) -> FolderSize | None:
        """Give the size at the second step."""
        self._steps += 1
        if self._steps < 2:
            return None
        Growing.looks += 1
        return FolderSize(Growing.looks * 100, 1, is_whole=True)

    def close(self) -> None:
        """Note it."""
        self.closed = True


def test_a_folder_is_looked_at_until_it_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look above the limit ends the wait, with what was seen."""
    monkeypatch.setattr(workdir_watch, "PAUSE_MIN_S", 0.0)  # the looks are in a thread: no virtual time
    Growing.looks = 0

    async def scenario() -> str:
        async with asyncio.timeout(30.0):
            return await WorkdirWatch(tmp_path, 250, Growing).exceeded()

    assert asyncio.run(scenario()) == "the run's folder holds 300 bytes, more than its limit of 250 bytes"


def test_a_watch_that_is_cancelled_closes_what_is_open(tmp_path: Path) -> None:
    """The run ended; the thread is let finish its stretch, and nothing stays open."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    before = len(list(Path("/proc/self/fd").iterdir()))

    async def scenario() -> None:
        watch = asyncio.create_task(WorkdirWatch(tmp_path, 10**12).exceeded())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        watch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watch

    asyncio.run(scenario())
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_many_watches_share_what_one_may_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many slots each folder is looked at less often; who ends gives its share back."""
    asked = []

    def pausing(spent_s: float) -> float:
        asked.append(spent_s)
        return 0.001

    monkeypatch.setattr(workdir_watch, "pause_s", pausing)
    monkeypatch.setattr(Growing, "spent_s", 0.5)
    Growing.looks = 0

    async def scenario() -> None:
        looks = Looks()
        watches = [WorkdirWatch(tmp_path, 650, Growing, looks) for _ in range(3)]
        async with asyncio.timeout(30.0):
            await asyncio.gather(*(watch.exceeded() for watch in watches))
        assert looks.watches == 0

    asyncio.run(scenario())
    assert 1.5 in asked
