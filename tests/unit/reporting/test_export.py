"""Files in which a person keeps what could not be delivered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.reporting.samples import REPORT, entry
from worker.reporting.export import document, exported_outcomes, write_export
from worker.storage.file import SpooledFile


def test_an_export_holds_the_whole_outcome_and_where_files_lie(tmp_path: Path) -> None:
    """One JSON document a line, for the owner only."""
    file = SpooledFile(
        name="a.txt", path="run-1/0", size_bytes=3, sha256="ab" * 32, content_type="text/plain"
    )
    one = entry(ended=REPORT, files=(file,), task_type="render")
    write_export(
        tmp_path / "out.jsonl", [document(one, tmp_path / "spool"), document(entry("run-2"), tmp_path)]
    )
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert (first["run"], first["type"], first["outcome"], first["claim"]) == (
        "run-1",
        "render",
        REPORT,
        one.intent,
    )
    assert first["files"][0]["path"] == str(tmp_path / "spool" / "run-1/0")
    assert (second["state"], second["outcome"]) == ("claimed", None)
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o777 == 0o600
    assert list(exported_outcomes(tmp_path / "out.jsonl")) == [("run-1", REPORT), ("run-2", None)]


def test_an_export_never_writes_over_a_file(tmp_path: Path) -> None:
    """What was kept before stays."""
    (tmp_path / "out.jsonl").write_text("mine")
    with pytest.raises(FileExistsError):
        write_export(tmp_path / "out.jsonl", [{}])
    assert (tmp_path / "out.jsonl").read_text() == "mine"


def test_an_export_that_fails_leaves_no_half(tmp_path: Path) -> None:
    """Half a file would be taken for a whole one."""

    def documents() -> Iterator[dict[str, Any]]:
        yield {"run": "run-1"}
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_export(tmp_path / "out.jsonl", documents())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["nonsense", '["a"]\n', '{"run": 7}\n'])
def test_another_file_is_no_export(tmp_path: Path, content: str) -> None:
    """Nothing is dropped because of it."""
    (tmp_path / "other").write_text(content)
    with pytest.raises(ValueError, match=r".+"):
        list(exported_outcomes(tmp_path / "other"))
