"""A run that prints as fast as it can: nothing grows, nothing blocks, the end is known."""

import asyncio
from pathlib import Path

from tests.unit.executor.bench import Bench, bench, within_limit
from worker.api.wire import ResultCode
from worker.executor.outcome import Outcome

GROWTH_BYTES = 48 * 1024**2  # of this process; the heads of both streams are 16 MiB of it at most
FLOOD_BYTES = 400_000_000


async def watched(it: Bench) -> tuple[Outcome, int]:
    """Flood; return the outcome and the most that this process grew meanwhile."""
    before = most = resident_bytes()
    run = asyncio.create_task(it.run("flood", size_bytes=FLOOD_BYTES))
    while not run.done():
        await asyncio.wait([run], timeout=0.01)
        most = max(most, resident_bytes())
    return await run, most - before


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_flood_is_taken_without_growing(tmp_path: Path) -> None:
    """Head and tail are in the file, what is between is counted, and the last line is shown."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            outcome, growth_bytes = await watched(it)
            assert outcome.code is ResultCode.SUCCESS
            assert growth_bytes < GROWTH_BYTES
            (file,) = outcome.files
            assert 8 * 1024**2 < file.size_bytes < 9 * 1024**2
            text = (tmp_path / "spool" / file.path).read_text()
            assert text.startswith("all work and no play\n")
            assert text.endswith("all work and no play\nthe very last line\n")
            assert "bytes dropped …\nall work and no play\n" in text
            assert outcome.log_tail.endswith("the very last line")

    within_limit(scenario())
