"""What a run changes around itself is not there any more for the next."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.executor.bench import bench, within_limit
from tests.unit.executor.test_slots import SLOTS

UNDONE = [
    "nothing", "environment", "umask", "directory", "SIGINT", "SIGUSR1", "mask", "alarm", "locale",
    "soft limit", "CPU set", "stdout", "recursion", "collection", "daemon", "idle pool", "some files",
]  # fmt: skip
REPLACED = [
    "hard limit", "nice", "closed stdout", "descriptor 1", "thread", "busy pool", "many files",
    "broken threading",
]  # fmt: skip


async def looks(tmp_path: Path, change: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the runs before and after one with a change find around them."""
    environment = os.environ | {"LC_TIME": "C.UTF-8"}
    async with bench(tmp_path, handlers=SLOTS, environment=environment) as it:
        first = (await it.run("surroundings")).value
        changed = await it.run("surroundings", change=change)
        assert changed.error is None
        assert changed.value == first
        return first, (await it.run("surroundings")).value


@pytest.mark.parametrize("change", UNDONE)
def test_what_can_be_undone_is_undone(tmp_path: Path, change: str) -> None:
    """The next run is served by the same process, and finds what the first one found."""

    async def scenario() -> None:
        first, after = await looks(tmp_path, change)
        assert after == first

    within_limit(scenario())


@pytest.mark.parametrize("change", REPLACED)
def test_what_cannot_be_undone_ends_the_process(tmp_path: Path, change: str) -> None:
    """The next run has another process; but for that, it finds what the first one found."""

    async def scenario() -> None:
        first, after = await looks(tmp_path, change)
        assert after.pop("pid") != first.pop("pid")
        for one in (first, after):
            del one["stdout_target"]  # a pipe of each process's own
        assert after == first

    within_limit(scenario())


def test_what_costs_a_process_is_said_once_a_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The author learns why the model is loaded again and again; the log does not fill with it."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=SLOTS) as it:
            for _ in range(2):
                await it.run("surroundings", change="thread")

    within_limit(scenario())
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "child.replaced" in line]
    assert "surroundings" in told
    assert "it left threads running: 'Thread-" in told
