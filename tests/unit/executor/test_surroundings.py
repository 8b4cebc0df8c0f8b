"""What a run changes around itself is not there any more for the next."""

import os
import resource
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.unit.executor.bench import bench, within_limit
from tests.unit.executor.test_slots import SLOTS
from worker.executor.surroundings import RLIMITS, ResourceLimits

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


@pytest.mark.skipif(sys.platform != "linux", reason="the table is in /proc")
@pytest.mark.parametrize("harm", ["none", "closed", "replaced"])
def test_resource_limits_are_true_whatever_became_of_their_tables_file(tmp_path: Path, harm: str) -> None:
    """They are not asked for again while the table stands, and always once it does not."""
    limits = ResourceLimits()
    before = limits.read()
    assert before == [resource.getrlimit(one) for one in RLIMITS]
    assert limits.read() is before
    descriptor = limits._table._descriptor
    assert descriptor is not None
    if harm == "closed":
        os.close(descriptor)
    elif harm == "replaced":
        (tmp_path / "file").write_text("another file")
        with (tmp_path / "file").open() as file:
            os.dup2(file.fileno(), descriptor, inheritable=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits.read()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        assert limits.read() == [resource.getrlimit(one) for one in RLIMITS]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if harm == "closed":
            limits._table._descriptor = None
        limits._table.close()
