"""The files of a run without a server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.unit.executor.bench import SAMPLES, TEST_LIMIT_S
from worker.api.wire import ErrorKind, ResultCode
from worker.executor.local import run_local
from worker.executor.outcome import Outcome
from worker.storage.file import StoredFile
from worker.storage.spool import Spool


def made(folder: Path, store: str | None = None) -> tuple[Outcome, tuple[StoredFile, ...]]:
    """Run the handler that makes a file."""

    async def main() -> tuple[Outcome, tuple[StoredFile, ...]]:
        async with asyncio.timeout(TEST_LIMIT_S):
            parameters = {"text": "hello", "name": "deep/out.stl"}
            what = f"{SAMPLES}:make-file"
            return await run_local(what, parameters, lambda _: None, state_dir=folder, artifacts=store)

    return asyncio.run(main())


def test_the_files_of_a_local_run_are_stored_when_it_returns(tmp_path: Path) -> None:
    """There is no journal to go on from later; nothing stays in the spool."""
    outcome, (file,) = made(tmp_path)
    assert outcome.code is ResultCode.SUCCESS
    (stored,) = (tmp_path / "artifacts").glob("*/deep/out.stl")
    assert stored.read_text() == "hello"
    assert file.url == stored.as_uri()
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_store_that_takes_nothing_fails_a_local_run_and_says_why(tmp_path: Path) -> None:
    """The value is kept; nothing stays in the spool."""
    (tmp_path / "in-the-way").write_text("")
    outcome, files = made(tmp_path, str(tmp_path / "in-the-way"))
    assert outcome.error is not None
    assert outcome.error.kind is ErrorKind.INTERNAL
    assert "file deep/out.stl could not be stored at" in outcome.error.message
    assert outcome.value == {"made": 1}
    assert files == ()
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_spool_that_cannot_be_emptied_hides_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a disk does after the end changes nothing of it."""

    async def fail(_spool: Spool, _run_id: str) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(Spool, "remove", fail)
    outcome, files = made(tmp_path)
    assert outcome.code is ResultCode.SUCCESS
    assert [file.name for file in files] == ["deep/out.stl"]
