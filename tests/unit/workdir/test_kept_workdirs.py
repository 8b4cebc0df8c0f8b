"""Folders of failed runs that are kept for people."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.typing import EventDict

from tests.unit.workdir import hostile
from tests.unit.workdir.scenes import assigned, made, run, there
from worker.api.wire import ErrorKind
from worker.clock import SystemClock
from worker.executor.kept import Keeping, KeptNote, KeptWorkdirs, read_notes, surplus
from worker.executor.outcome import RunError
from worker.executor.workdir import Workdirs

NOW = datetime(2026, 5, 1, tzinfo=UTC)
FAILED = RunError(kind=ErrorKind.HANDLER_ERROR, message="it broke")


def keeping(workdirs: Workdirs, folder: Path, **limits: Any) -> KeptWorkdirs:
    """Have the folders of failed runs kept."""
    bounds = Keeping(**({"age_s": 3600.0, "size_bytes": 10**9} | limits))
    kept = KeptWorkdirs(folder, bounds, workdirs.clearing, SystemClock())
    workdirs.keep_failed(kept)
    return kept


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
