"""Folders on a disk that hangs: nobody waits for them, and no other is lost."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from structlog.typing import EventDict

from tests.skipping import run_skipping, skip
from tests.unit.workdir.scenes import LIMIT_S, assigned, made, run, there
from worker.executor import workdir as workdir_module
from worker.executor.clearing import Clearing
from worker.executor.removal import Removal
from worker.executor.workdir import Workdirs


def test_while_folders_hang_on_their_way_out_no_others_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs leave meanwhile is the next run's; all of it goes when the disk is back."""
    released, is_removed = threading.Event(), workdir_module.is_removed

    def hangs(workdir: str) -> bool:
        return released.wait(LIMIT_S) and is_removed(workdir)

    monkeypatch.setattr(workdir_module, "is_removed", hangs)  # a network disk that is away

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        await workdirs.leave(workdirs.make("run-1"), assigned("run-1"), None, is_clean=True)
        sweeping = asyncio.create_task(workdirs.sweep())
        await asyncio.sleep(0)  # the thread is at it
        await workdirs.leave(workdirs.make("run-2"), assigned("run-2"), None, is_clean=True)
        await skip(workdir_module.SPARE_S)
        made(workdirs, "run-3")
        assert there(tmp_path / "runs") == ["run-1", "run-3"]
        await workdirs.leave(str(tmp_path / "runs" / "run-3"), assigned("run-3"), None, is_clean=True)
        released.set()
        await sweeping
        await workdirs.aclose()
        assert there(tmp_path / "runs") == []

    run_skipping(scenario())


def test_a_removal_that_takes_too_long_is_left_to_the_next_start(
    tmp_path: Path, said: list[EventDict]
) -> None:
    """An agent that drains does not wait for millions of files; nothing is lost of them."""

    class Endless(Removal):
        def step(self, limit_s: float) -> bool:
            return False

    async def scenario() -> None:
        with pytest.MonkeyPatch.context() as patch:  # a folder without end
            patch.setattr("worker.executor.clearing.Removal", Endless)
            workdirs = Workdirs(tmp_path / "runs", close_s=0.01)
            (made(workdirs, "run-1") / "file").touch()
            await workdirs.clearing.clear(tmp_path / "runs" / "run-1", patience_s=0.01)
            await workdirs.aclose()
        assert there(tmp_path / "runs") == ["run-1"]
        following = Workdirs(tmp_path / "runs")
        await following.recover()
        await following.aclose()
        assert there(tmp_path / "runs") == []

    run(scenario())
    assert [event["event"] for event in said] == ["workdir.left"]


def test_a_disk_that_hangs_does_not_keep_an_agent_from_its_end(tmp_path: Path, said: list[EventDict]) -> None:
    """Its thread is left behind with what it has open; who waits is cancelled without a fault."""
    released = threading.Event()

    class Hanging(Removal):
        def _empty_top(self, top: int) -> Any:
            released.wait(LIMIT_S)
            yield

    async def scenario() -> None:
        with pytest.MonkeyPatch.context() as patch:  # a network disk that is away
            patch.setattr("worker.executor.clearing.Removal", Hanging)
            clearing = Clearing(tmp_path / "aside")
            (tmp_path / "run").mkdir()
            await clearing.clear(tmp_path / "run", patience_s=0.01)
            await clearing.aclose(0.01)
            assert len(clearing) == 1
            left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in left:
                task.cancel()
            ends = await asyncio.gather(*left, return_exceptions=True)
            assert {type(end) for end in ends} == {asyncio.CancelledError}
            released.set()

    run(scenario())
    assert [event["event"] for event in said] == ["workdir.left"]
