"""Folders of runs from their making to their end."""

import asyncio
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.typing import EventDict

from tests.unit.workdir import hostile
from tests.unit.workdir.scenes import LIMIT_S, assigned, made, run, there
from worker.api.wire import ErrorKind
from worker.executor import workdir as workdir_module
from worker.executor.clearing import Clearing
from worker.executor.outcome import RunError
from worker.executor.removal import Removal
from worker.executor.workdir import RESISTING, Workdirs

NOW = datetime(2026, 5, 1, tzinfo=UTC)
FAILED = RunError(kind=ErrorKind.HANDLER_ERROR, message="it broke")


@pytest.mark.parametrize("fill", hostile.EVERY)
def test_a_run_leaves_no_folder(tmp_path: Path, fill: Callable[[Path], None]) -> None:
    """It is made empty, for its owner only, and removed whatever happened in it."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        workdir = made(workdirs, "run-1")
        assert there(workdir) == []
        assert workdir.stat().st_mode & 0o777 == 0o700
        fill(workdir)
        await workdirs.leave(str(workdir), assigned("run-1"), FAILED)
        await workdirs.aclose()
        assert there(tmp_path / "runs") == []

    run(scenario())


def test_a_folder_is_made_empty_where_another_one_stands(tmp_path: Path) -> None:
    """What stood there goes with the next start, and does not hold up the run."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        (made(workdirs, "run-1") / "old").touch()
        assert there(made(workdirs, "run-1")) == []
        (made(workdirs, "run-1") / "new").touch()
        await Workdirs(tmp_path / "runs").recover()
        again = Workdirs(tmp_path / "runs")
        await again.recover()
        await again.aclose()
        assert not [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]

    run(scenario())


def test_who_is_cancelled_while_a_folder_goes_leaves_none(tmp_path: Path) -> None:
    """What is in it is removed all the same, before the cancellation goes on."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        workdir = made(workdirs, "run-1")
        (workdir / "left.txt").write_text("left")
        leaving = asyncio.create_task(workdirs.leave(str(workdir), assigned("run-1"), None))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert there(tmp_path / "runs") == []
        await workdirs.aclose()

    run(scenario())


def test_folders_that_no_run_gets_go_together_a_moment_later(tmp_path: Path) -> None:
    """By themselves, or with the end of the agent; one that is not as it was any more goes too."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        every = [made(workdirs, f"run-{number}") for number in range(4)]
        for folder in every:
            await workdirs.leave(str(folder), assigned(folder.name), None, is_clean=True)
        (every[1] / "late.txt").write_text("a thread of the handler went on")
        every[2].rmdir()
        every[3].rmdir()
        every[3].symlink_to(tmp_path)  # which stays
        while there(tmp_path / "runs"):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.001)
        await workdirs.leave(workdirs.make("run-5"), assigned("run-5"), None, is_clean=True)
        await workdirs.aclose()
        assert there(tmp_path / "runs") == []

    run(scenario())
    assert tmp_path.is_dir()


def test_a_run_whose_folder_is_on_its_way_out_gets_another_one(tmp_path: Path) -> None:
    """What goes is what was left, and never the folder of a run that goes on."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        await workdirs.leave(workdirs.make("run-1"), assigned("run-1"), None, is_clean=True)
        sweeping = asyncio.create_task(workdirs.sweep())
        await asyncio.sleep(0)  # the thread is at it
        again = made(workdirs, "run-1")
        for folder in [workdirs.make(f"run-{number}") for number in (2, 3)]:
            await workdirs.leave(folder, assigned(Path(folder).name), None, is_clean=True)
        third = made(workdirs, "run-2")  # while a folder of that name waits for another run
        await sweeping
        await workdirs.sweep()
        assert there(tmp_path / "runs") == sorted((again.name, third.name))
        assert there(again) == there(third) == []
        for path in (again, third):
            await workdirs.leave(str(path), assigned(path.name), None)
        await workdirs.aclose()
        assert there(tmp_path / "runs") == []

    run(scenario())


def test_more_folders_than_the_bound_are_removed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that hangs is waited for, instead of remembering more and more."""
    monkeypatch.setattr(workdir_module, "SPARE_MOST", 2)  # as good as 256

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        for folder in [workdirs.make(f"run-{number}") for number in range(4)]:
            await workdirs.leave(folder, assigned(Path(folder).name), None, is_clean=True)
        assert there(tmp_path / "runs") == ["run-0", "run-1"]
        await workdirs.aclose()
        assert there(tmp_path / "runs") == []

    run(scenario())


def test_the_loop_goes_on_while_a_folder_is_removed(tmp_path: Path) -> None:
    """Every step is in a thread; who brings the folder waits only for a moment."""
    threads = set()

    class Slow(Removal):
        def step(self, limit_s: float) -> bool:
            threads.add(threading.current_thread())
            return released.is_set() and super().step(limit_s)

    released = threading.Event()

    async def scenario() -> None:
        with pytest.MonkeyPatch.context() as patch:  # a disk that takes its time
            patch.setattr("worker.executor.clearing.Removal", Slow)
            clearing = Clearing(tmp_path / "aside")
            (tmp_path / "run").mkdir()
            await clearing.clear(tmp_path / "run", patience_s=0.01)
            assert (tmp_path / "run").exists()
            assert len(clearing) == 1
            released.set()
            await clearing.aclose(LIMIT_S)
            assert not (tmp_path / "run").exists()
        assert threading.main_thread() not in threads

    run(scenario())


def test_what_an_earlier_life_left_is_removed(tmp_path: Path) -> None:
    """Folders, files and links; what they lead to stays."""

    async def scenario() -> None:
        runs = tmp_path / "runs"
        (runs / "run-1" / "deep").mkdir(parents=True)
        (runs / "file").touch()
        (tmp_path / "mine").mkdir()
        (runs / "link").symlink_to(tmp_path / "mine")
        workdirs = Workdirs(runs)
        await workdirs.recover()
        await workdirs.aclose()
        assert there(runs) == []
        assert there(tmp_path) == ["mine", "runs"]
        await Workdirs(tmp_path / "never made").recover()

    run(scenario())


@pytest.mark.skipif(os.geteuid() != 0, reason="files are made immutable by root; CI is root")
def test_what_resists_is_put_aside_told_once_and_tried_again(tmp_path: Path, said: list[EventDict]) -> None:
    """The name of the run is free, a person is told where it lies, and the next start tries again."""
    runs = tmp_path / "runs"

    async def first() -> None:
        workdirs = Workdirs(runs)
        workdir = made(workdirs, "run-1")
        (workdir / "stone").touch()
        if not hostile.immutable(workdir / "stone", is_on=True):
            pytest.skip("files cannot be made immutable here")
        await workdirs.leave(str(workdir), assigned("run-1"), None)
        await workdirs.aclose()

    async def following() -> None:
        workdirs = Workdirs(runs)
        await workdirs.recover()
        await workdirs.aclose()

    stone = runs / RESISTING / "run-1" / "stone"
    try:
        run(first())
        assert stone.exists()
        assert there(runs) == [RESISTING]
        assert [(event["event"], event["folder"]) for event in said] == [
            ("workdir.resists", str(stone.parent))
        ]
        assert "stone" in said[0]["reason"]
        run(following())
        assert stone.exists()
        assert len(said) == 2
    finally:
        hostile.immutable(stone, is_on=False)
    run(following())
    assert there(runs / RESISTING) == []
