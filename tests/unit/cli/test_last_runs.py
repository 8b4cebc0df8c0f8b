"""What local runs leave on disk."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from worker.cli.last_runs import LastRun, LastRuns


def last(checkpoint: object) -> LastRun:
    """Return what a run with this checkpoint leaves."""
    return LastRun(handler="x.py", type="x", checkpoint=checkpoint, at=datetime.now(UTC))


def test_a_checkpoint_is_its_owners_alone(tmp_path: Path) -> None:
    """It may hold what a handler learnt from secrets."""
    path = LastRuns(tmp_path / "runs").keep(last({"step": 3}))
    assert path.stat().st_mode & 0o077 == 0
    assert LastRuns(tmp_path / "runs").resume("x.py", "x").checkpoint == {"step": 3}


def test_a_disk_that_refuses_keeps_the_last_checkpoint_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of the run before stays whole, and no part of the new one stays beside it."""
    runs = LastRuns(tmp_path / "runs")
    path = runs.keep(last("first"))

    def refuse(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(OSError, match="No space"):
        runs.keep(last("second"))
    assert list(path.parent.iterdir()) == [path]
    assert runs.resume("x.py", "x").checkpoint == "first"
