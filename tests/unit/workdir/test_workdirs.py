"""Folders of runs from their making to their end."""

import asyncio
import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.typing import EventDict

from tests.unit.workdir import hostile
from tests.unit.workdir.scenes import LIMIT_S, assigned, made, run, there
from worker.api.wire import ErrorKind
from worker.clock import SystemClock
from worker.executor import workdir as workdir_module
from worker.executor.clearing import Clearing
from worker.executor.kept import Keeping, KeptNote, KeptWorkdirs, read_notes, surplus
from worker.executor.outcome import RunError
from worker.executor.removal import Removal
from worker.executor.workdir import RESISTING, Workdirs

NOW = datetime(2026, 5, 1, tzinfo=UTC)
FAILED = RunError(kind=ErrorKind.HANDLER_ERROR, message="it broke")


def keeping(workdirs: Workdirs, folder: Path, **limits: Any) -> KeptWorkdirs:
    """Have the folders of failed runs kept."""
    bounds = Keeping(**({"age_s": 3600.0, "size_bytes": 10**9} | limits))
    kept = KeptWorkdirs(folder, bounds, workdirs.clearing, SystemClock())
    workdirs.keep_failed(kept)
    return kept


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


def test_the_folder_of_a_failed_run_is_kept_with_a_note(tmp_path: Path, said: list[EventDict]) -> None:
    """As the handler left it; the note beside it says what run it was."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        keeping(workdirs, tmp_path / "kept")
        workdir = made(workdirs, "run-1")
        (workdir / "input.txt").write_text("the cause")
        workdir.chmod(0)
        await workdirs.leave(str(workdir), assigned("run-1"), FAILED)
        await workdirs.aclose()

    run(scenario())
    assert (tmp_path / "kept" / "run-1" / "input.txt").read_text() == "the cause"
    note = json.loads((tmp_path / "kept" / "run-1.json").read_text())
    assert note["error"] == "handler_error: it broke"
    assert (note["task_id"], note["type"]) == ("task-1", "noop")
    assert note["size_bytes"] > 0
    assert there(tmp_path / "runs") == []
    assert [(event["event"], event["run_id"], event["folder"]) for event in said] == [
        ("workdir.kept", "run-1", str(tmp_path / "kept" / "run-1"))
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="files are made immutable by root; CI is root")
def test_a_folder_whose_secrets_cannot_be_removed_is_not_kept(tmp_path: Path, said: list[EventDict]) -> None:
    """Nor one that is locked with them in it: that goes unlocked, and without them."""
    stone = tmp_path / "runs" / "run-1" / ".secrets" / "stone"

    async def scenario(run_id: str) -> None:
        workdirs = Workdirs(tmp_path / "runs")
        keeping(workdirs, tmp_path / "kept")
        workdir = made(workdirs, run_id)
        (workdir / ".secrets").mkdir()
        (workdir / ".secrets" / ("stone" if run_id == "run-1" else "key")).write_text("s3cret")
        if run_id == "run-1" and not hostile.immutable(stone, is_on=True):
            pytest.skip("files cannot be made immutable here")
        workdir.chmod(0)
        await workdirs.leave(str(workdir), assigned(run_id), FAILED)
        await workdirs.aclose()

    try:
        run(scenario("run-1"))
    finally:
        for left in tmp_path.rglob("stone"):
            hostile.immutable(left, is_on=False)
    assert there(tmp_path / "kept") == []
    assert "its secrets in" in next(one["error"] for one in said if one["event"] == "workdir.not_kept")
    run(scenario("run-2"))
    assert there(tmp_path / "kept") == ["run-2", "run-2.json"]
    assert there(tmp_path / "kept" / "run-2") == []


@pytest.mark.parametrize(
    "error",
    [None, *(RunError(kind=kind, message="stopped") for kind in (ErrorKind.CANCELLED, ErrorKind.DRAINED))],
)
def test_only_failures_are_kept(tmp_path: Path, error: RunError | None) -> None:
    """Not what succeeded, nor what somebody stopped."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        keeping(workdirs, tmp_path / "kept")
        workdir = made(workdirs, "run-1")
        (workdir / "file").touch()
        await workdirs.leave(str(workdir), assigned("run-1"), error)
        await workdirs.aclose()
        assert there(tmp_path / "kept") == there(tmp_path / "runs") == []

    run(scenario())


def test_what_is_too_large_or_cannot_be_moved_is_removed_and_told(
    tmp_path: Path, said: list[EventDict]
) -> None:
    """A kept folder must not cost a disk, nor a broken place for them a run."""

    async def scenario(place: Path, **limits: Any) -> None:
        workdirs = Workdirs(tmp_path / "runs")
        keeping(workdirs, place, **limits)
        workdir = made(workdirs, "run-1")
        (workdir / "file").write_bytes(b"x" * 100_000)
        await workdirs.leave(str(workdir), assigned("run-1"), FAILED)
        await workdirs.aclose()
        assert there(tmp_path / "runs") == []

    run(scenario(tmp_path / "kept", size_bytes=1000))
    (tmp_path / "no folder").touch()
    run(scenario(tmp_path / "no folder"))
    assert [event["event"] for event in said] == ["workdir.too_large_to_keep", "workdir.not_kept"]
    assert there(tmp_path / "kept") == []


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    """After each addition; the note goes with the folder."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        keeping(workdirs, tmp_path / "kept", count=2)
        for number in range(4):
            workdir = made(workdirs, f"run-{number}")
            (workdir / "file").touch()
            await workdirs.leave(str(workdir), assigned(f"run-{number}"), FAILED)
        await workdirs.aclose()

    run(scenario())
    assert there(tmp_path / "kept") == ["run-2", "run-2.json", "run-3", "run-3.json"]


def test_halves_of_kept_folders_go(tmp_path: Path) -> None:
    """A crash between the note and the folder, or a note that somebody broke."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        kept = keeping(workdirs, tmp_path / "kept")
        workdir = made(workdirs, "run-1")
        (workdir / "file").touch()
        await workdirs.leave(str(workdir), assigned("run-1"), FAILED)
        (tmp_path / "kept" / "half").mkdir()
        (tmp_path / "kept" / "broken.json").write_text("{")
        note = (tmp_path / "kept" / "run-1.json").read_text()
        (tmp_path / "kept" / "run-2.json").write_text(note.replace("run-1", "run-2"))
        (tmp_path / "kept" / "other.json").write_text(note)
        await kept.prune()
        await workdirs.aclose()

    run(scenario())
    assert there(tmp_path / "kept") == ["run-1", "run-1.json"]
    assert [note.run_id for note in read_notes(tmp_path / "kept")[0]] == ["run-1"]


def noted(run_id: str, age_s: float, size_bytes: int) -> KeptNote:
    """Return a note."""
    at = NOW - timedelta(seconds=age_s)
    return KeptNote(run_id=run_id, task_id="t", type="noop", error="e", at=at, size_bytes=size_bytes)


@pytest.mark.parametrize(
    ("limits", "gone"),
    [
        ({}, []),
        ({"age_s": 60.0}, []),
        ({"age_s": 59.0}, ["old"]),
        ({"age_s": 0.0}, ["old", "middle"]),
        ({"size_bytes": 60}, []),
        ({"size_bytes": 59}, ["old"]),
        ({"size_bytes": 29}, ["old", "middle", "new"]),
        ({"size_bytes": 30}, ["old", "middle"]),
        ({"count": 3}, []),
        ({"count": 1}, ["old", "middle"]),
        ({"count": 0}, ["old", "middle", "new"]),
    ],
)
def test_which_kept_folders_must_go(limits: dict[str, Any], gone: list[str]) -> None:
    """Age, size and number each bound them; the newest stay longest."""
    notes = [noted("middle", 30.0, 20), noted("new", 0.0, 30), noted("old", 60.0, 10)]
    bounds = Keeping(**({"age_s": 1e9, "size_bytes": 10**9} | limits))
    assert [note.run_id for note in surplus(notes, bounds, NOW)] == gone
