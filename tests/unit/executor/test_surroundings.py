"""What a run changes around itself is not there any more for the next."""

import os
from itertools import pairwise
from pathlib import Path

import pytest

from tests.unit.executor.bench import bench, within_limit
from tests.unit.executor.test_slots import SLOTS

UNDONE = [
    "environment", "umask", "directory", "SIGINT", "SIGUSR1", "mask", "alarm", "locale",
    "soft limit", "CPU set", "stdout", "recursion", "collection", "daemon", "idle pool", "some files",
]  # fmt: skip
REPLACED = [
    "hard limit", "nice", "closed stdout", "descriptor 1", "thread", "busy pool", "many files",
    "broken threading",
]  # fmt: skip


def test_what_can_be_undone_is_undone(tmp_path: Path) -> None:
    """After each change the next run is served by the same process, and finds what the first one found."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=SLOTS, environment=os.environ | {"LC_TIME": "C.UTF-8"}) as it:
            first = (await it.run("surroundings")).value
            for before, change in pairwise(["nothing", *UNDONE, "nothing"]):
                assert (await it.run("surroundings", change=change)).value == first, f"after: {before}"

    within_limit(scenario())


def test_what_cannot_be_undone_ends_the_process(tmp_path: Path) -> None:
    """The next run has another process; but for that, it finds what the first one found."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=SLOTS) as it:
            order = [change for one in [*REPLACED, "nothing"] for change in ("nothing", one)]
            looks = [(await it.run("surroundings", change=change)).value for change in order]
            pids = [look.pop("pid") for look in looks]
            assert pids[::2] == pids[1::2]
            assert len(set(pids)) == len(REPLACED) + 1, dict(zip(order, pids, strict=True))
            for look in looks:
                del look["stdout_target"]  # a pipe of each process's own
            assert looks == [looks[0]] * len(looks)

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
